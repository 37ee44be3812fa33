"""One logger for the process keeps TensorRT's errors."""

from types import SimpleNamespace

import pytest

from pssdet.engines.trt.callbacks import error_log


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = range(3)


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
