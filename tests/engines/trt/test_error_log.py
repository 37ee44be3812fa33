"""One logger for the process keeps TensorRT's errors."""

from types import SimpleNamespace

import pytest

from pssdet.engines.trt import callbacks
from pssdet.engines.trt.callbacks import error_log


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@pytest.fixture
def trt():
    return SimpleNamespace(ILogger=ILogger)


def test_the_latest_errors_are_told_once(trt):
    log = error_log(trt)
    for line in (" first\n", "second", "third", "fourth"):
        log.log(ILogger.ERROR, line)
    log.log(ILogger.WARNING, "a warning")
    log.log(ILogger.INTERNAL_ERROR, "worse")
    assert log.last_errors() == "second / third / fourth / worse"
    assert log.last_errors() == "it gave no reason"


def test_a_tensorrt_has_one_for_good(trt):
    assert error_log(trt) is error_log(trt)
    assert error_log(SimpleNamespace(ILogger=ILogger)) is not error_log(trt)


def test_the_transcript_has_every_line_but_of_verbose_ones_the_latest(trt, monkeypatch):
    monkeypatch.setattr(callbacks, "_MOST_VERBOSE", 2)
    log = error_log(trt)
    log.log(ILogger.ERROR, "of an earlier build")
    log.begin()
    log.log(ILogger.WARNING, "first\n")
    for number in range(4):
        text = f"tactic {number}"
        log.log(ILogger.VERBOSE, text)
    log.log(ILogger.ERROR, "last")
    assert log.transcript() == "[2] first\n[4] tactic 2\n[4] tactic 3\n[1] last\n"
    assert log.last_errors() == "last"


def test_who_listens_is_told_warnings_and_errors_at_once(trt, monkeypatch):
    told = []
    monkeypatch.setattr(callbacks, "_listeners", [])
    callbacks.listen(told.append)
    log = error_log(trt)
    log.log(ILogger.WARNING, " a warning\n")
    log.log(ILogger.INFO, "some information")
    log.log(ILogger.ERROR, "an error")
    assert told == ["a warning", "an error"]
    assert log.last_errors() == "an error"
