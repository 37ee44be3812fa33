"""One engine over a data set, in a process of its own: a crash or a hang costs that engine, not the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from pssdet.console import ERR
from pssdet.models.card import EngineCard
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.parity_report.schema import Speed
from pssdet.validation.subprocess_run import Alive, in_child

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
    finite, a crash of the process, a picture that takes for ever.
    """
    result = in_child(_evaluate_here, engine, list(pictures))
    return result if isinstance(result, EngineRun) else EngineRun([], None, result)


def _evaluate_here(engine: Path, pictures: Sequence[Path], alive: Alive) -> EngineRun:
    with Detector.load(engine, max_batch=1) as detector:
        alive()
        return _timed_run(detector, engine.name, pictures, alive)


def _timed_run(detector: Detector, name: str, pictures: Sequence[Path], alive: Alive) -> EngineRun:
    for picture in pictures[:_WARM_UP]:
        detector([picture])
        alive()
    detections, seconds = [], []
    with Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        for picture in bar.track(pictures, description=name):
            started = perf_counter()
            detections += detector([picture])
            seconds.append(perf_counter() - started)
            alive()
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
