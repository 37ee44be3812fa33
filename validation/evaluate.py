"""One engine over a data set, in a process of its own: a crash costs that engine, not the report."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np
from rich.progress import Progress

from pssdet.console import ERR, quiet_paddle
from pssdet.errors import BadInput, PssDetError
from pssdet.models.card import EngineCard
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.average_precision import Matched, coco_results, coco_statistics, match
from pssdet.validation.ground_truth import GroundTruth, Image
from pssdet.validation.parity_report.schema import EngineResult, Speed

#: A child without a heartbeat for so many polls of so many seconds hangs. Several polls, so that time in
#: which parent and child were suspended counts as one of them at most.
POLLS, POLL_SECONDS = 10, 60.0
#: How long a child may take for its clean-up once it has sent its result.
_CLEAN_UP_SECONDS = 10.0

#: To be called after every part of the work, such as a picture, to show that it progresses.
Heartbeat = Callable[[], None]

_T = TypeVar("_T")


def run_in_subprocess(function: Callable[..., _T], *arguments: object) -> _T | str:
    """Call the function in a process of its own; returns its result, or a text that says what went wrong.

    The function must be importable by its name; it gets the arguments, pickled, and then a ``Heartbeat``.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sender, function, arguments))
    child.start()
    sender.close()
    try:
        answer = _answer(receiver)
        if answer is None:
            return (
                f"the engine hung: it made no progress for {POLLS * POLL_SECONDS / 60:g} minutes"
                " and was stopped"
            )
        child.join(_CLEAN_UP_SECONDS)
        result: _T | str = answer[0]
        return result
    except (EOFError, OSError):
        return "the engine crashed its process"
    finally:
        child.kill()
        child.join(_CLEAN_UP_SECONDS)
        receiver.close()


def _answer(receiver: Connection) -> tuple[Any] | None:
    """The result that ``_work`` sends, in a tuple; None if nothing came for too long."""
    while any(receiver.poll(POLL_SECONDS) for _ in range(POLLS)):
        message: tuple[Any] | None = receiver.recv()
        if message is not None:
            return message
    return None


def _work(sender: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Runs in the child and sends None as a heartbeat and a tuple of one as the result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    quiet_paddle()
    try:
        result = function(*arguments, partial(sender.send, None))
    except PssDetError as error:
        result = str(error)
    except BaseException as error:  # noqa: BLE001 - whatever an engine does is a finding of the report
        result = f"{type(error).__name__}: {error}"
    sender.send((result,))


#: Runs before the clock counts: the first ones load kernels and fill caches.
_WARM_UP = 3


class EngineRun(NamedTuple):
    """An engine's detections in the order of the pictures, or its ``failure``.

    There is no speed if it failed or its precision is emulated.
    """

    detections: list[Detections]
    speed: Speed | None
    failure: str


class Evaluated(NamedTuple):
    """An engine's results on a data set; without ``detections`` and ``matched`` if it failed."""

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

    Whatever goes wrong in there, a crash or a picture that takes for ever, becomes the run's ``failure``.
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
