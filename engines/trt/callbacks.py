"""What TensorRT calls while it works: a log that keeps errors, and the progress of a build."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

Report = Callable[[str], None]

#: Seconds between two reports of the elapsed time.
TICK = 60.0
#: The latest are enough: one failure makes several, and the last ones say most.
_KEPT = 4
#: Lines of the transcript: of verbose ones a build writes hundreds of thousands, and the last ones tell
#: which layer TensorRT was at.
_MOST_LINES, _MOST_VERBOSE = 20_000, 2_000

#: TensorRT holds the first logger for the whole process, and plugins log to it.
_logs: list[tuple[Any, Any]] = []
_listeners: list[Report] = []


def listen(report: Report) -> None:
    """From now on tell ``report`` each warning and error of TensorRT as it comes, from any thread."""
    _listeners.append(report)


def error_log(trt: Any) -> Any:
    """The ``ILogger`` of the module ``tensorrt``, never freed; see its ``last_errors`` and ``transcript``."""
    for module, log in _logs:
        if module is trt:
            return log
    _logs.append((trt, _new(trt)))
    return _logs[-1][1]


def _new(trt: Any) -> Any:
    class ErrorLog(trt.ILogger):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=_KEPT)
            self.begin()

        def begin(self) -> None:
            """Forget what was said so far: it is not about what begins now."""
            self._errors.clear()
            self._count = 0
            self._lines: deque[tuple[int, str]] = deque(maxlen=_MOST_LINES)
            self._verbose: deque[tuple[int, str]] = deque(maxlen=_MOST_VERBOSE)

        def log(self, severity: Any, msg: str) -> None:
            text = msg.strip()
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self._errors.append(text)
            self._count += 1
            kept = self._verbose if severity == trt.ILogger.VERBOSE else self._lines
            kept.append((self._count, f"[{_name(severity)}] {text}"))
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR, trt.ILogger.WARNING):
                for listener in _listeners:
                    listener(text)

        def last_errors(self) -> str:
            """The latest errors in one line; each is given once."""
            errors = " / ".join(self._errors)
            self._errors.clear()
            return errors or "it gave no reason"

        def transcript(self) -> str:
            """All lines since ``begin`` in their order, of verbose ones the latest."""
            return "".join(f"{line}\n" for _, line in sorted([*self._lines, *self._verbose]))

    return ErrorLog()


def _name(severity: Any) -> str:
    return str(getattr(severity, "name", severity))


def progress_monitor(trt: Any, report: Report) -> Any:
    """An ``IProgressMonitor`` that reports each phase of the build, and tenths of the long ones.

    An exception of ``report``, Ctrl-C too, would end the process inside TensorRT: it becomes the
    monitor's ``error``, to be raised after the build.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._steps: dict[str, int] = {}
            self._reported: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins; nested ones are too many to report."""
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                self._report(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; False stops the build."""
            if steps := self._steps.get(phase_name, 0):
                tenth = min(10 * (step + 1) // steps, 10)
                if 0 < tenth < 10 and tenth > self._reported.get(phase_name, 0):
                    self._reported[phase_name] = tenth
                    self._report(f"{phase_name}, {tenth}0 %")
            return self.error is None

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _report(self, text: str) -> None:
            try:
                report(f"TensorRT: {text}")
            except BaseException as error:  # noqa: BLE001  (it is raised again after the build)
                self.error = self.error or error

    return Monitor()


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
