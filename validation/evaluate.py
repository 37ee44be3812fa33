"""One engine over a data set, in a process of its own: a crash or a hang costs that engine, not the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from pssdet.console import ERR
from pssdet.errors import BadInput
from pssdet.models.card import EngineCard
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.bootstrap import Matched, match
from pssdet.validation.coco_statistics import coco_results, coco_statistics
from pssdet.validation.ground_truth import GroundTruth, Image
from pssdet.validation.parity_report.schema import EngineResult, Speed
from pssdet.validation.subprocess_run import Heartbeat, run_in_subprocess

#: Runs before the clock counts: the first ones load kernels and fill caches.
_WARM_UP = 3


class EngineRun(NamedTuple):
    """An engine's detections, picture by picture, or why it gave none.

    Attributes:
        detections: in the order of the pictures; empty if the engine failed.
        speed: None if the engine failed.
        failure: empty if it did not.
    """

    detections: list[Detections]
    speed: Speed | None
    failure: str


class Evaluated(NamedTuple):
    """An engine's results on a data set.

    Attributes:
        detections: picture by picture; empty if the engine failed.
        result: what the report has of them.
        matched: the detections matched with the objects; None if the engine failed.
    """

    folder: Path
    card: EngineCard
    detections: list[Detections]
    result: EngineResult
    matched: Matched | None


def evaluate(truth: GroundTruth, images: Sequence[Image], folder: Path, card: EngineCard) -> Evaluated:
    """Run an engine on images of a data set whose ``category_ids`` are those of the engine's labels."""
    run = run_engine(folder, [image.path for image in images])
    ids = [image.id for image in images]
    stats: dict[str, float] = {}
    matched = None
    if not run.failure:
        results = coco_results(truth, images, run.detections)
        try:
            stats = coco_statistics(truth, results, ids)
            matched = match(truth, results, ids)
        except BadInput as error:  # the data set was checked before, so the engine's results are at fault
            run = EngineRun([], None, str(error))
    result = EngineResult(
        model=card.model.model,
        name=folder.name,
        backend=card.backend,
        precision=card.precision,
        emulated=card.emulated,
        stats=stats,
        detections=sum(len(found) for found in run.detections),
        speed=run.speed,
        failure=run.failure,
    )
    return Evaluated(folder, card, run.detections, result, matched)


def run_engine(engine: Path, pictures: Sequence[Path]) -> EngineRun:
    """Run an engine on every picture, one at a time, in a child process.

    Whatever goes wrong in there becomes the run's ``failure``: an error, an output that is not
    finite, a crash of the process, a picture that takes for ever.
    """
    result = run_in_subprocess(_run_here, engine, list(pictures))
    return result if isinstance(result, EngineRun) else EngineRun([], None, result)


def _run_here(engine: Path, pictures: Sequence[Path], heartbeat: Heartbeat) -> EngineRun:
    with Detector.load(engine, max_batch=1) as detector:
        heartbeat()
        return _timed_run(detector, engine.name, pictures, heartbeat)


def _timed_run(detector: Detector, name: str, pictures: Sequence[Path], heartbeat: Heartbeat) -> EngineRun:
    for picture in pictures[:_WARM_UP]:
        detector([picture])
        heartbeat()
    detections, seconds = [], []
    with Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        for picture in bar.track(pictures, description=name):
            started = perf_counter()
            detections += detector([picture])
            seconds.append(perf_counter() - started)
            heartbeat()
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
