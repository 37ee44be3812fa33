"""One engine over a data set, in a process of its own: a crash costs that engine, not the report."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np
from rich.progress import Progress

from pssdet.console import ERR
from pssdet.errors import PssDetError
from pssdet.models.card import EngineCard
from pssdet.quiet import quiet_paddle
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.report_schema import Speed

#: Runs before the clock counts: the first ones load kernels and fill caches.
_WARM_UP = 3


_T = TypeVar("_T")


class EngineRun(NamedTuple):
    """What an engine found, picture by picture, or why it found nothing.

    Attributes:
        detections: in the order of the pictures; empty if the engine failed.
        speed: None if the engine failed.
        failure: empty if it did not.
    """

    detections: list[Detections]
    speed: Speed | None
    failure: str


def evaluate(engine: Path, pictures: Sequence[Path]) -> EngineRun:
    """Run an engine on every picture, one at a time, in a child process.

    Whatever goes wrong in there becomes the run's ``failure``: an error, an output that is not
    finite, a crash of the process.
    """
    result = in_child(_evaluate_here, engine, list(pictures))
    return result if isinstance(result, EngineRun) else EngineRun([], None, result)


def in_child(function: Callable[..., _T], *arguments: object) -> _T | str:
    """What the function returns in a process of its own, or in words what went wrong there."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_guarded, function, arguments).result()
        except BrokenProcessPool:
            return "the engine crashed its process"


def _guarded(function: Callable[..., _T], arguments: tuple[object, ...]) -> _T | str:
    quiet_paddle()
    try:
        return function(*arguments)
    except PssDetError as error:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever an engine does is a finding of the report
        return f"{type(error).__name__}: {error}"


def _evaluate_here(engine: Path, pictures: Sequence[Path]) -> EngineRun:
    with Detector.load(engine, max_batch=1) as detector:
        return _timed_run(detector, engine.name, pictures)


def _timed_run(detector: Detector, name: str, pictures: Sequence[Path]) -> EngineRun:
    for picture in pictures[:_WARM_UP]:
        detector([picture])
    detections, seconds = [], []
    with Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        for picture in bar.track(pictures, description=name):
            started = perf_counter()
            detections += detector([picture])
            seconds.append(perf_counter() - started)
    return EngineRun(detections, _speed(detector.card, seconds), "")


def _speed(card: EngineCard, seconds: Sequence[float]) -> Speed | None:
    if card.emulated:
        return None  # emulation is slower than what it stands for
    milliseconds = 1e3 * np.array(seconds)
    return Speed(
        images_per_second=float(1e3 / milliseconds.mean()),
        latency_ms={f"p{level}": float(np.percentile(milliseconds, level)) for level in (50, 90)},
        includes="reading and decoding the file, preprocessing, network, post-processing",
        excludes="loading the engine, warm-up, COCO evaluation",
        batch=1,
    )
