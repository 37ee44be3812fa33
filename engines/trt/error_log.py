"""Keeps the errors that TensorRT logs, for our own messages, instead of printing them."""

from __future__ import annotations

from collections import deque
from typing import Any

#: The latest are enough: one failure makes several, and the last ones say most.
_KEPT = 4

#: TensorRT holds one logger for a process, whichever was given first, and plugins log to it, also after the engine that
#: came with it is gone.
_logs: list[tuple[Any, Any]] = []


def error_log(trt: Any) -> Any:
    """The ``ILogger`` of the module ``tensorrt``, the same for all and never freed; see its ``last_errors``."""
    for module, log in _logs:
        if module is trt:
            return log
    _logs.append((trt, _new(trt)))
    return _logs[-1][1]


def _new(trt: Any) -> Any:
    """A logger that prints nothing."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT."""
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors.append(msg.strip())

        def last_errors(self) -> str:
            """The latest errors in one line; each is given once."""
            errors = " / ".join(self._errors)
            self._errors.clear()
            return errors or "it gave no reason"

    return ErrorLog()
