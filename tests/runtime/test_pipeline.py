import threading

import numpy as np
import pytest
from fake_engine import FakeSession, fake_engine, picture, write_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from pssdet.engines.backend import Pipelined
from pssdet.errors import BadInput, GateFailed
from pssdet.images import NamedPicture
from pssdet.runtime.detector import _READERS, Detector

WIDE, TALL, SQUARE = (90, 60), (60, 90), (50, 50)


class FakePipeline(FakeSession):
    """Computes a batch when it is collected; ``log`` has what was done with which batch."""

    depth = 2
    batch = 1

    def __init__(self):
        super().__init__()
        self.log = []

    def submit(self, inputs):
        self.batches.append(inputs)
        self.log.append(("submit", len(self.batches)))
        return len(self.batches)

    def collect(self, ticket):
        self.log.append(("collect", ticket))
        return self.answer(self.batches[ticket - 1])

    def run(self, inputs):
        raise AssertionError("not with a pipeline")


class OneAtATime(FakeSession):
    """Finds out whether two threads are in it at once."""

    def __init__(self):
        super().__init__()
        self.inside = 0
        self.most = 0
        self.at_close = 0
        self.started = threading.Event()

    def run(self, inputs):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.started.set()
        threading.Event().wait(0.01)
        self.inside -= 1
        return super().run(inputs)

    def close(self):
        assert not self.closed, "closed twice"
        self.at_close = self.inside
        super().close()


def same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.to_json() == other.to_json()


class TestPipeline:
    def test_who_has_one(self):
        assert isinstance(FakePipeline(), Pipelined)
        assert not isinstance(FakeSession(), Pipelined)

    @settings(max_examples=30, deadline=None)
    @given(
        choices=st.lists(st.integers(0, 2), min_size=1, max_size=25),
        max_batch=st.integers(1, 3),
        padding=st.sampled_from(["own", "common"]),
    )
    def test_same_detections_in_the_same_order(self, choices, max_batch, padding):
        images = [picture(*(WIDE, TALL, SQUARE)[c], seed=seed) for seed, c in enumerate(choices)]
        in_turn, overlapped = FakeSession(), FakePipeline()
        same(
            Detector(fake_engine(overlapped), max_batch, padding)(images),
            Detector(fake_engine(in_turn), max_batch, padding)(images),
        )
        assert [b["image"].shape for b in overlapped.batches] == [b["image"].shape for b in in_turn.batches]

    def test_the_next_is_started_before_the_last_is_collected(self):
        session = FakePipeline()
        Detector(fake_engine(session), max_batch=1)([picture(*WIDE)] * 4)
        assert session.log == [
            ("submit", 1),
            ("submit", 2),
            ("collect", 1),
            ("submit", 3),
            ("collect", 2),
            ("submit", 4),
            ("collect", 3),
            ("collect", 4),
        ]

    def test_a_batch_runs_and_the_next_pictures_are_taken_while_detections_are_used(self):
        session, taken = FakePipeline(), []

        def pictures():
            for number in range(12):
                taken.append(number)
                yield NamedPicture(str(number), "", picture(*WIDE))

        for number, (named, _) in enumerate(Detector(fake_engine(session)).stream(pictures())):
            assert named.name == str(number)
            under_way = sum(1 if what == "submit" else -1 for what, _ in session.log)
            assert under_way == (1 if number < 11 else 0)
            assert len(taken) == min(12, number + 1 + under_way + _READERS + session.batch - 1)

    def test_one_picture_is_waited_for_at_once(self):
        session = FakePipeline()
        detector = Detector(fake_engine(session))
        same(detector([picture(*WIDE)]), Detector(fake_engine())([picture(*WIDE)]))
        assert session.log == [("submit", 1), ("collect", 1)]

    def test_results_before_an_error_come_before_it(self, tmp_path):
        session = FakePipeline()
        good = write_picture(tmp_path / "good.png", *WIDE)
        names = [good] * 5 + [tmp_path / "missing.png"]
        stream = Detector(fake_engine(session), max_batch=1).stream(NamedPicture(str(n), "", n) for n in names)
        assert len([next(stream) for _ in range(5)]) == 5
        with pytest.raises(BadInput, match=r"missing\.png cannot be read"):
            next(stream)

    def test_an_engines_error_is_raised_where_it_belongs(self):
        class Broken(FakePipeline):
            def collect(self, ticket):
                outputs = super().collect(ticket)
                if ticket == 2:
                    outputs["scores"][:] = np.nan
                return outputs

        stream = Detector(fake_engine(Broken()), max_batch=1).stream(
            NamedPicture(str(number), "", picture(*WIDE)) for number in range(3)
        )
        assert next(stream)[0].name == "0"
        with pytest.raises(GateFailed, match=r"^1: the engine gave"):
            next(stream)

    def test_a_stream_left_early_does_not_stop_the_next(self):
        detector = Detector(fake_engine(FakePipeline()), max_batch=1)
        stream = detector.stream(NamedPicture(str(number), "", picture(*WIDE)) for number in range(9))
        next(stream)
        stream.close()
        same(detector([picture(*TALL)]), Detector(fake_engine())([picture(*TALL)]))


class TestThreadsOfAStream:
    """They end with it, however it ends."""

    def threads(self):
        return {each for each in threading.enumerate() if each.name.startswith("prepare")}

    def stream(self, session, image=None):
        pictures = [NamedPicture(str(n), "", image or picture(*WIDE)) for n in range(9)]
        return Detector(fake_engine(session), max_batch=1).stream(pictures)

    def test_when_all_is_done(self):
        stream = self.stream(FakePipeline())
        next(stream)
        assert self.threads()
        assert len(list(stream)) == 8
        assert not self.threads()

    def test_when_it_is_left_early(self):
        stream = self.stream(FakePipeline())
        next(stream)
        stream.close()
        assert not self.threads()

    def test_when_a_picture_cannot_be_used(self):
        with pytest.raises(BadInput):
            list(self.stream(FakePipeline(), b"no picture"))
        assert not self.threads()

    @pytest.mark.parametrize("error", [GateFailed, KeyboardInterrupt])
    def test_when_the_engine_fails_or_the_user_stops_it(self, error):
        class Failing(FakePipeline):
            def collect(self, ticket):
                raise error("stop")

        with pytest.raises(error) as caught:
            list(self.stream(Failing()))
        assert not self.threads(), caught  # although the error still holds the frames

    def test_one_picture_needs_none(self, monkeypatch):
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
        Detector(fake_engine(FakePipeline()))([picture(*WIDE)])


def in_threads(count, work):
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


class TestThreads:
    @pytest.mark.parametrize("kind", [OneAtATime, FakePipeline])
    def test_each_gets_the_detections_of_its_own_pictures(self, kind):
        session = kind()
        if kind is FakePipeline:
            lock, submit = threading.Lock(), session.submit

            def locked(inputs):
                with lock:
                    return submit(inputs)

            session.submit = locked
        detector = Detector(fake_engine(session), max_batch=2)
        images = [
            [picture(*(WIDE, TALL)[i % 2], level=40 * n + 40, seed=i) for i in range(7)] for n in range(4)
        ]
        wanted = [Detector(fake_engine(), max_batch=2)(each) for each in images]
        assert in_threads(4, lambda n: same(detector(images[n]), wanted[n])) == []
        if kind is OneAtATime:
            assert session.most == 1

    def test_closing_waits_for_the_batch_that_runs(self):
        session = OneAtATime()
        detector = Detector(fake_engine(session), max_batch=1)

        def work(number):
            if number == 0:
                detector([picture(*WIDE)] * 50)
            else:
                session.started.wait(10)
                detector.close()

        errors = in_threads(2, work)
        assert [(type(error), str(error)) for error in errors] == [(ValueError, "the session is closed")]
        assert session.closed
        assert session.at_close == 0


class TestClose:
    def test_once(self):
        session = OneAtATime()
        with Detector(fake_engine(session)) as detector:
            detector([picture(*WIDE)])
            detector.close()
        assert session.closed

    def test_not_usable_afterwards(self):
        detector = Detector(fake_engine())
        detector.close()
        with pytest.raises(ValueError, match="the session is closed"):
            detector([picture(*WIDE)])
