"""A folder one picture at a time and as a stream, and the memory of streams; for ``throughput.py``.

Each of these functions runs in a process of its own.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple, cast

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.shared import memory, others
from pssdet.engines.backend import Pipelined, Session, Tensors, Threading
from pssdet.engines.registry import open_engine
from pssdet.images import NamedPicture, load, read_pictures
from pssdet.models.preprocess import as_batch, prepare, sample_of_shape
from pssdet.runtime.detector import Detector
from pssdet.runtime.overlap import run_ahead
from pssdet.runtime.results import open_sinks
from pssdet.validation.evaluate import Heartbeat

THROUGHPUT = Threading(hint="throughput")


class Measured(NamedTuple):
    """Seconds per picture in each round by way, wall and processor, and the cores that others used."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]
    others: float


def measure(engine: Path, files: list[Path], rounds: int, alive: Heartbeat) -> Measured:
    """The ways to run the ``files``, which take turns; one more round warms up."""
    single, many = open_engine(engine), open_engine(engine, threading=THROUGHPUT)
    inputs = [as_batch([prepare(load(file), single.card.model.preprocessing)]) for file in files]
    with Detector(single) as one, Detector(many) as stream, tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], None]] = {
            "engine": lambda: _run_in_turn(single.session, inputs),
            "engines": lambda: _run_together(cast(Pipelined, many.session), inputs),
            "one": lambda: _one_at_a_time(one, files, Path(folder)),
            "stream": lambda: _as_a_stream(stream, files, Path(folder)),
            "one_saved": lambda: _one_at_a_time(one, files, Path(folder), save=True),
            "stream_saved": lambda: _as_a_stream(stream, files, Path(folder), save=True),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        processor: dict[str, list[float]] = {name: [] for name in ways}
        with others() as busy:
            for number in range(1 + rounds):
                for name, way in ways.items():
                    at, used = perf_counter(), process_time()
                    way()
                    alive()
                    if number:
                        wall[name].append((perf_counter() - at) / len(files))
                        processor[name].append((process_time() - used) / len(files))
    return Measured(wall, processor, busy[0])


def memory_of_stream(engine: Path, files: list[Path], marks: tuple[int, ...], alive: Heartbeat) -> list[int]:
    """Bytes of this process after so many pictures of one stream, which repeats the ``files``."""
    pictures = (NamedPicture(str(file), file.stem, file) for file in itertools.cycle(files))
    found = []
    with Detector.load(engine, threading=THROUGHPUT) as detector:
        stream = detector.stream(itertools.islice(pictures, marks[-1]))
        for number, _ in enumerate(stream, 1):
            alive()
            if number in marks:
                found.append(memory("self/status", "VmRSS"))
    return found


def memory_of_shapes(engine: Path, marks: tuple[int, ...], alive: Heartbeat) -> list[int]:
    """Bytes of this process after a session met so many padded sizes, and after it met each once more."""
    card, session = open_engine(engine)
    sides = range(64, 64 + 32 * 14, 32)
    sizes = list(itertools.product(sides, sides))[: marks[-1]]
    found = []
    for number, (height, width) in enumerate(sizes * 2, 1):
        session.run(sample_of_shape(card.model.preprocessing, 1, height, width))
        alive()
        if number in marks or number == 2 * len(sizes):
            found.append(memory("self/status", "VmRSS"))
    return found


def _run_in_turn(session: Session, inputs: list[Tensors]) -> None:
    for each in inputs:
        session.run(each)


def _run_together(session: Pipelined, inputs: list[Tensors]) -> None:
    for _ in run_ahead(session, ((None, each) for each in inputs)):
        pass


def _one_at_a_time(detector: Detector, files: list[Path], folder: Path, *, save: bool = False) -> None:
    with open_sinks(folder / "found.json", folder / "boxes" if save else None, files) as sinks:
        for picture, file in zip(read_pictures(files), files, strict=True):
            (found,) = detector([file])
            for sink in sinks:
                sink(picture, found.above(0.5))


def _as_a_stream(detector: Detector, files: list[Path], folder: Path, *, save: bool = False) -> None:
    with open_sinks(folder / "found.json", folder / "boxes" if save else None, files) as sinks:
        for picture, found in detector.stream(read_pictures(files)):
            for sink in sinks:
                sink(picture, found.above(0.5))
