"""One logger for the process keeps TensorRT's errors."""

from types import SimpleNamespace

import pytest

from pssdet.engines.trt import callbacks
from pssdet.engines.trt.callbacks import error_log


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)


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
