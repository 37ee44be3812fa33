"""What overlap gives on a CPU: a folder one picture at a time and as a stream, memory, and preprocessing.

    python benchmarks/throughput.py    # writes benchmarks/results/throughput.md

The engines are built under artifacts/ if missing: mini_faster with its own parameters, row 4 with seeded ones.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import RESULTS, table
from benchmarks.preprocessing import MEANING as PREPROCESSING
from benchmarks.preprocessing import preprocessing_table
from benchmarks.shared import QUIET, write_page
from benchmarks.streams import Measured, measure, memory_of_shapes, memory_of_stream
from pssdet.commands.app import run
from pssdet.commands.artifacts import ARTIFACTS, engine_of, held_out_scenes
from pssdet.console import Progress, steps
from pssdet.errors import GateFailed
from pssdet.models.card import MODEL_CARD
from pssdet.models.zoo import find
from pssdet.validation.evaluate import run_in_subprocess

T = TypeVar("T")

MINI, ROW4 = "mini_faster", "faster_rcnn_enhance_3x_coco"
BACKENDS = ("openvino", "onnxruntime")
#: Pictures of a folder, by model.
COUNTS = {MINI: 150, ROW4: 8}
ROUNDS = 7

#: A stream of mini_faster must be so many times faster than one picture at a time.
FASTER = 1.15
#: What a stream of row 4 may take beyond its engine alone.
BEYOND = 0.03
#: Pictures after which memory is read; from the first of these on it may grow by so much.
MARKS = (1000, 5000, 10_000)
GROWTH = 0.03
#: Padded sizes after which it is read.
SIZES = (4, 50, 100, 196)

HEAD = (
    "model", "engine", "engine alone", "engine alone, streams", "one at a time", "stream", "times faster",
    "one at a time, saved", "stream, saved", "times faster", "others' cores", "goal",
)  # fmt: skip
MEANING = (
    "Milliseconds per picture, in brackets of processor time: medians of {rounds} rounds, in which the ways"
    " take turns; times faster is the median of the rounds' own. Engine alone: inputs that are ready, one after"
    " the other, and as many at once as a stream has under way. One at a time: each picture is read, detected"
    " in and its JSON written before the next. Stream: as `pssdet detect FOLDER --json FILE` does it. Saved:"
    " pictures with their boxes are written too. mini_faster runs on held-out scenes, row 4 on the same ones"
    " made 640x480."
    f" **Where others used more than {QUIET} cores, figures are not to be trusted.**"
)
MEMORY = (
    f"Resident memory of the process, MB. The stream repeats {{files}} scenes of six sizes; the goal is at"
    f" most {GROWTH:.0%} more than after {MARKS[0]:,} pictures. The sizes are padded ones, 64x64 to 480x480,"
    " that one session meets; most share a model of dynamic shape, which keeps what it prepares for a size."
)


def throughput(*, rounds: int = ROUNDS, output: Path = RESULTS) -> None:
    """Measure throughput, memory and preprocessing.

    Args:
        rounds: Rounds in which the ways take turns.
        output: Folder of the results.
    """
    rows, streams = [], []
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder, steps() as progress:
        for model, count in COUNTS.items():
            files = _pictures(model, count, Path(folder), progress)
            for backend in BACKENDS:
                engine = _engine(model, backend, progress)
                progress(f"{model} in {backend}")
                rows.append(_row(model, backend, _in_child(measure, engine, files, rounds)))
        files = _pictures(MINI, 48, Path(folder), progress)
        for backend in BACKENDS:
            progress(f"memory in {backend}")
            engine = _engine(MINI, backend, progress)
            streams.append(_memory_row(backend, _in_child(memory_of_stream, engine, files, MARKS)))
        progress("memory of many sizes")
        sizes = _in_child(memory_of_shapes, _engine(MINI, "openvino", progress), SIZES)
        progress("preprocessing")
        preprocessing = preprocessing_table()
    write_page(
        __file__,
        "Throughput on a CPU",
        table(HEAD, rows),
        MEANING.format(rounds=rounds),
        "## Memory of mini_faster",
        table(("engine", *(f"after {mark:,} pictures" for mark in MARKS), "goal"), streams),
        table(("engine", *(f"{mark} sizes" for mark in SIZES), "each again"), [["openvino", *_mb(sizes)]]),
        MEMORY.format(files=len(files)),
        "## Preprocessing",
        preprocessing,
        PREPROCESSING,
        folder=output,
    )


def _engine(model: str, backend: str, progress: Progress) -> Path:
    folder = ARTIFACTS / model
    if model == ROW4 and not (folder / MODEL_CARD).is_file():
        from pssdet.export.pipeline import export_model

        export_model(find(model), "none", folder, progress)
    return engine_of(model, backend, "fp32", progress)


def _pictures(model: str, count: int, folder: Path, progress: Progress) -> list[Path]:
    from pssdet.images import encode_jpeg, load, pictures_in
    from pssdet.opencv import cv2

    files = pictures_in(held_out_scenes(300, progress)[1])[:count]
    if model == MINI:
        return files
    made = [folder / file.name for file in files]
    for source, target in zip(files, made, strict=True):
        target.write_bytes(encode_jpeg(cv2.resize(load(source), (640, 480)), 90))
    return made


def _in_child(work: Callable[..., T], *arguments: object) -> T:
    found = run_in_subprocess(work, *arguments)
    if isinstance(found, str):
        raise GateFailed(found)
    return found


def _row(model: str, backend: str, found: Measured) -> list[str]:
    def cell(way: str) -> str:
        return f"{1e3 * median(found.wall[way]):.2f} ({1e3 * median(found.processor[way]):.2f})"

    ways = ("engine", "engines", "one", "stream")
    faster, faster_saved = _ratio(found.wall, "one", "stream"), _ratio(found.wall, "one_saved", "stream_saved")
    return [
        model, backend, *map(cell, ways), f"{faster:.2f}", *map(cell, ("one_saved", "stream_saved")),
        f"{faster_saved:.2f}", f"{found.others:.2f}",
        _judged(model, faster, _ratio(found.wall, "stream", "engines")),
    ]  # fmt: skip


def _judged(model: str, faster: float, of_engine: float) -> str:
    if model == MINI:
        return f"{'met' if faster >= FASTER else 'missed'}: {faster:.2f} of {FASTER} times"
    beyond = of_engine - 1
    return f"{'met' if beyond <= BEYOND else 'missed'}: {beyond:+.1%} of at most {BEYOND:.0%} beyond the engine"


def _ratio(wall: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    return median(a / b for a, b in zip(wall[above], wall[below], strict=True))


def _memory_row(backend: str, sizes: Sequence[int]) -> list[str]:
    growth = sizes[-1] / sizes[0] - 1
    return [backend, *_mb(sizes), f"{'met' if growth <= GROWTH else 'missed'}: {growth:+.1%}"]


def _mb(sizes: Sequence[int]) -> list[str]:
    return [f"{size / 1e6:,.0f}" for size in sizes]


if __name__ == "__main__":
    run(throughput)
