"""Work ahead of its results: in order, bounded, and with errors where they belong."""

import threading

import pytest

from pssdet.runtime.overlap import map_in_threads, run_ahead


def test_results_keep_the_order_whichever_is_ready_first():
    second_is_done = threading.Event()

    def work(number):
        if number == 0:
            assert second_is_done.wait(10)
        if number == 1:
            second_is_done.set()
        return number * number

    assert list(map_in_threads(work, range(6), threads=2, ahead=3)) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_items_are_taken_only_so_far_ahead(ahead):
    taken = []
    items = (taken.append(number) or number for number in range(20))
    for done, _ in enumerate(map_in_threads(str, items, threads=2, ahead=ahead), 1):
        assert len(taken) == min(20, done + ahead - 1)


def test_items_are_taken_and_results_given_in_the_callers_thread_and_made_in_others():
    def items():
        for _ in range(5):
            assert threading.current_thread() is threading.main_thread()
            yield None

    made_in = set(map_in_threads(lambda _: threading.current_thread(), items(), threads=1, ahead=2))
    assert threading.main_thread() not in made_in
    assert len(made_in) == 1


def test_an_error_of_the_work_comes_in_its_turn():
    results = map_in_threads(lambda number: 1 // (3 - number), range(9), threads=2, ahead=8)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_items_comes_in_its_turn():
    def items():
        yield from range(3)
        raise OSError("the disk is gone")

    results = map_in_threads(str, items(), threads=2, ahead=8)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_closing_drops_what_has_not_begun():
    begun, go_on = [], threading.Event()

    def work(number):
        begun.append(number)
        if number:
            assert go_on.wait(10)

    results = map_in_threads(work, range(9), threads=1, ahead=5)
    next(results)
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert begun in ([0], [0, 1])
    assert not [each for each in threading.enumerate() if each.name.startswith("prepare")]


class Pipeline:
    """A session whose batches are under way until they are collected; a batch of 0 fails."""

    depth, batch = 3, 1

    def __init__(self):
        self.under_way = []

    def submit(self, inputs):
        self.under_way.append(inputs)
        return inputs

    def collect(self, request):
        self.under_way.remove(request)
        return {"inverse": 1 / request}


def test_no_batch_is_under_way_once_a_stream_is_left():
    session = Pipeline()
    results = run_ahead(session, ((number, number) for number in (1, 2, 0, 4, 5, 6)))
    assert next(results) == (1, {"inverse": 1})
    assert session.under_way == [2, 0]
    results.close()
    assert session.under_way == []


def test_no_batch_is_under_way_after_an_error():
    session = Pipeline()
    with pytest.raises(ZeroDivisionError):
        list(run_ahead(session, ((number, number) for number in (0, 2, 0, 4))))
    assert session.under_way == []


def test_an_error_of_a_batch_to_come_ends_a_stream_that_is_left_without_a_word():
    def batches():
        yield 1, 1
        yield 2, 2
        raise OSError("the disk is gone")

    session = Pipeline()
    results = run_ahead(session, batches())
    next(results)
    results.close()
    assert session.under_way == []
