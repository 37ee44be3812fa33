"""Telling how far a build is: TensorRT's own progress where it reports it, the time it takes where not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

Tell = Callable[[str], None]

#: Seconds between two words about the time.
TICK = 60.0


class Interruption:
    """What stopped a build from inside one of TensorRT's callbacks, which may not raise."""

    error: BaseException | None = None


def monitor(trt: Any, tell: Tell, interruption: Interruption) -> Any:
    """An ``IProgressMonitor`` that tells of each phase of the build, and of tenths of the long ones."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._told: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins; nested ones are too many to tell."""
            if parent_phase is None:
                self._steps[phase_name] = num_steps
                _guarded(lambda: tell(f"TensorRT: {phase_name}"), interruption)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; False stops the build."""
            if steps := self._steps.get(phase_name, 0):
                tenth = min(10 * (step + 1) // steps, 10)
                if 0 < tenth < 10 and tenth > self._told.get(phase_name, 0):
                    self._told[phase_name] = tenth
                    _guarded(lambda: tell(f"TensorRT: {phase_name}, {tenth}0 %"), interruption)
            return interruption.error is None

        def phase_finish(self, phase_name: str) -> None:
            """A phase is over."""
            self._steps.pop(phase_name, None)

    return Monitor()


def _guarded(action: Callable[[], None], interruption: Interruption) -> None:
    """Ctrl-C arrives wherever Python runs, here too; an exception through TensorRT would end the process."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001  (it is raised again once the build has stopped)
        interruption.error = interruption.error or error


@contextmanager
def elapsed(tell: Tell, tick: float = TICK) -> Iterator[None]:
    """Tell every ``tick`` seconds for how long the block has been running."""
    done = threading.Event()
    started = perf_counter()

    def watch() -> None:
        while not done.wait(tick):
            tell(f"TensorRT: building, {perf_counter() - started:.0f} s so far")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
