"""One engine over a data set, in a process of its own: a crash costs that engine, not the report."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

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
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_evaluate_here, engine, list(pictures)).result()
        except BrokenProcessPool:
            return EngineRun([], None, "the engine crashed its process")


def _evaluate_here(engine: Path, pictures: Sequence[Path]) -> EngineRun:
    quiet_paddle()
    try:
        with Detector.load(engine, max_batch=1) as detector:
            return _timed_run(detector, engine.name, pictures)
    except PssDetError as error:
        return EngineRun([], None, str(error))
    except Exception as error:  # noqa: BLE001 - any failure of an engine is a finding of the report
        return EngineRun([], None, f"{type(error).__name__}: {error}")


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
