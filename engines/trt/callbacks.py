"""What TensorRT calls while it works: a log that keeps errors for our own messages, and the progress of a build."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
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


Report = Callable[[str], None]

#: Seconds between two reports of the elapsed time.
TICK = 60.0


class DeferredError:
    """An exception of one of TensorRT's callbacks, which may not raise; it is raised again after the build."""

    error: BaseException | None = None


def progress_monitor(trt: Any, report: Report, deferred: DeferredError) -> Any:
    """An ``IProgressMonitor`` that reports each phase of the build, and tenths of the long ones."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._reported: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins; nested ones are too many to report."""
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                _guarded(lambda: report(f"TensorRT: {phase_name}"), deferred)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; False stops the build."""
            if steps := self._steps.get(phase_name, 0):
                tenth = min(10 * (step + 1) // steps, 10)
                if 0 < tenth < 10 and tenth > self._reported.get(phase_name, 0):
                    self._reported[phase_name] = tenth
                    _guarded(lambda: report(f"TensorRT: {phase_name}, {tenth}0 %"), deferred)
            return deferred.error is None

        def phase_finish(self, phase_name: str) -> None:
            """A phase is over."""
            self._steps.pop(phase_name, None)

    return Monitor()


def _guarded(action: Callable[[], None], deferred: DeferredError) -> None:
    """Keep an exception, Ctrl-C too, from passing through TensorRT, which would end the process."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001  (it is raised again after the build)
        deferred.error = deferred.error or error


@contextmanager
def report_elapsed(report: Report, tick: float = TICK) -> Iterator[None]:
    """Report every ``tick`` seconds for how long the block has been running."""
    done = threading.Event()
    started = perf_counter()

    def watch() -> None:
        while not done.wait(tick):
            report(f"TensorRT: building, {perf_counter() - started:.0f} s so far")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
