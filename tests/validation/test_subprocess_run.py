"""A function in a process of its own: results, errors, crashes, hangs; nothing is left running."""

import multiprocessing
import threading
import time

import fake_engine
import pytest
import subprocess_work

from pssdet.runtime.detector import Detector
from pssdet.validation import evaluate as evaluation


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("given", [(), (1, "two"), (None,)])
def test_the_result_comes_back(given):
    assert evaluation.run_in_subprocess(subprocess_work.return_what_was_given, *given) == given


def test_none_is_a_result():
    assert evaluation.run_in_subprocess(subprocess_work.return_none) is None


def test_an_error_comes_back_in_words():
    assert evaluation.run_in_subprocess(subprocess_work.divide_by_zero) == "ZeroDivisionError: division by zero"


def test_a_crash_comes_back_in_words():
    assert evaluation.run_in_subprocess(subprocess_work.crash, None, []) == "the engine crashed its process"


def test_slow_work_that_gets_on_is_no_hang(monkeypatch):
    """Twice the patience in all, but never long for a part."""
    monkeypatch.setattr(evaluation, "POLL_SECONDS", 2 / evaluation.POLLS)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def crawl():
        for _ in range(16):
            time.sleep(0.25)
            sender.send(None)
        sender.send(("done",))

    worker = threading.Thread(target=crawl)
    worker.start()
    assert evaluation._answer(receiver) == ("done",)
    worker.join()


def test_an_engine_that_hangs_is_stopped_and_gives_its_reason(monkeypatch):
    monkeypatch.setattr(evaluation, "POLL_SECONDS", 4 / evaluation.POLLS)
    monkeypatch.setattr(evaluation, "_run_here", subprocess_work.hang)
    run = evaluation.run_engine("engine", [])
    assert "hung" in run.failure
    assert run.speed is None


def test_every_picture_is_a_heartbeat(tmp_path):
    pictures = [fake_engine.write_picture(tmp_path / f"{each}.png", 40, 30, seed=each) for each in range(5)]
    beats = []
    detector = Detector(fake_engine.fake_engine())
    run = evaluation._timed_run(detector, "fake", pictures, lambda: beats.append("picture"))
    assert len(run.detections) == 5
    assert len(beats) == 5 + evaluation._WARM_UP
