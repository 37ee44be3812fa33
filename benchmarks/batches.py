"""Memory and time of batches of 1, 2, 4 and 8 in ONNX Runtime on a CPU.

    python benchmarks/batches.py              # writes benchmarks/results/batches.json and batches.md
    python benchmarks/batches.py --no-times   # memory only, on a machine that is busy

Every batch runs in a process of its own, so that the peak is its own. A batch that the machine's free memory would
not hold is not run, and the table says so.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import cyclopts
import msgspec
import onnx

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.detectors import PACKAGES, ROWS, check_names, convert
from benchmarks.documents import RESULTS, document, publish, table
from benchmarks.machine import QUIET, as_line, available_memory, environment, memory_now, others, peak_memory
from pssdet.commands.app import run
from pssdet.console import steps
from pssdet.errors import GateFailed
from pssdet.files import write_atomically
from pssdet.validation.evaluate import Heartbeat, run_in_subprocess

#: Largest padded (height, width) that each reader gives.
SIZES = {
    "mini_faster": (256, 256),
    "mini_cascade": (256, 256),
    "row1": (640, 640),
    "row2": (1024, 1504),
    "row3": (800, 1344),
    "row4": (640, 640),
}
BATCHES = (1, 2, 4, 8)
#: A time is the median of as many runs as fit, after one that does not count.
SECONDS = 10.0
RUNS = (2, 20)

MEANING = (
    "Memory is the process's own, Python and ONNX Runtime included; per further image: what it grows by from the"
    " smallest batch on. The input is a random mosaic of the largest size that the detector's reader gives. Times"
    " are of the network alone: the median run, divided by the batch."
)
DISTURBED = (
    "**Times in brackets are not to be trusted:** other programs used the processor meanwhile, as many cores as the"
    " last column says."
)


class Measured(msgspec.Struct, frozen=True):
    """One batch size of one detector.

    Attributes:
        loaded: bytes that the process occupied with the model loaded.
        peak: most bytes that it occupied; 0 if it did not run.
        runs: seconds of each run that counts.
        others: processor cores that other programs used meanwhile.
        failure: why there are no figures, empty if there are.
    """

    model: str
    height: int
    width: int
    batch: int
    loaded: int = 0
    peak: int = 0
    runs: tuple[float, ...] = ()
    others: float = 0.0
    failure: str = ""

    @property
    def seconds_per_image(self) -> float:
        """Median over the runs."""
        return median(self.runs) / self.batch


class Result(msgspec.Struct, frozen=True):
    """What ``batches.json`` holds."""

    environment: dict[str, str]
    measured: tuple[Measured, ...]


def batches(
    *,
    models: Annotated[tuple[str, ...], cyclopts.Parameter(consume_multiple=True)] = tuple(ROWS),
    sizes: Annotated[tuple[int, ...], cyclopts.Parameter(consume_multiple=True)] = BATCHES,
    no_times: bool = False,
    output: Path = RESULTS,
) -> None:
    """Measure batches.

    Args:
        models: Among mini_faster, mini_cascade, row1, row2, row3, row4 (default: all).
        sizes: Images of a batch (default: 1 2 4 8).
        no_times: Run each batch three times, for its memory alone.
        output: Folder of the results.
    """
    check_names(models)
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder, steps() as progress:
        for name in models:
            progress(f"converting {name}")
            file = Path(folder) / f"{name}.onnx"
            if flaw := run_in_subprocess(_write, name, file):
                raise GateFailed(f"{name} cannot be converted: {flaw}")
            for size in sizes:
                progress(f"{name}, {size} images")
                measured.append(_measure(file, name, size, measured, timed=not no_times))
    result = Result(environment(*PACKAGES), tuple(measured))
    write_atomically(output / "batches.json", msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    publish(output / "batches.md", _document(result))


def _write(name: str, file: Path, _alive: Heartbeat) -> str:
    """In a child, since Paddle keeps its memory; gives nothing, a failure comes as text."""
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        onnx.save(convert(name, Path(folder)).onnx, file)
    return ""


def _measure(file: Path, name: str, batch: int, before: list[Measured], *, timed: bool) -> Measured:
    empty = Measured(name, *SIZES[name], batch)
    smaller = [each for each in before if each.model == name and each.peak and each.batch < batch]
    if smaller:
        last = smaller[-1]
        needed = last.loaded + (last.peak - last.loaded) * batch / last.batch
        if needed > (there := available_memory()):
            reason = f"not run: about {needed / 1e9:.0f} GB needed, {there / 1e9:.0f} GB free"
            return msgspec.structs.replace(empty, failure=reason)
    found = run_in_subprocess(_run, file, empty, timed)
    return found if isinstance(found, Measured) else msgspec.structs.replace(empty, failure=f"failed: {found}")


def _run(file: Path, empty: Measured, timed: bool, alive: Heartbeat) -> Measured:  # noqa: FBT001
    """In the child: load, run, and look at the memory."""
    import numpy as np
    from reference import synthetic_image

    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession

    size = (empty.height, empty.width)
    content = np.array([size], np.float32)
    images = [synthetic_image(seed, size, size) for seed in range(empty.batch)]
    inputs = {
        "image": np.concatenate(images),
        "image_size": content.repeat(empty.batch, axis=0),
        "original_size": content.repeat(empty.batch, axis=0),
        "scale_factor": np.ones((empty.batch, 2), np.float32),
    }
    del images
    session = OnnxRuntimeSession(file, (), cuda=False)
    loaded, runs = memory_now(), []
    with others() as busy:
        # Once is not enough even for the memory: ONNX Runtime plans it anew after the first run of a shape.
        for index in range(1 + (RUNS[1] if timed else RUNS[0])):
            started = perf_counter()
            session.run(inputs)
            runs.append(perf_counter() - started)
            alive()
            if index >= RUNS[0] and sum(runs[1:]) >= SECONDS:
                break
    kept = tuple(runs[1:]) if timed else ()
    return msgspec.structs.replace(empty, loaded=loaded, peak=peak_memory(), runs=kept, others=busy[0])


def _document(result: Result) -> str:
    head = (
        "detector", "padded size", "batch", "with the model loaded", "peak", "per further image", "s per image", "runs",
        "others' cores",
    )  # fmt: skip
    rows = [_row(each, _first(result, each.model)) for each in result.measured]
    notes = [MEANING]
    if any(each.runs and each.others > QUIET for each in result.measured):
        notes.append(DISTURBED)
    if not any(each.runs for each in result.measured):
        notes.append("Times were not measured: the processor was shared with other work.")
    return document(
        "# Batches in ONNX Runtime, float32",
        as_line(result.environment),
        table(head, rows),
        *notes,
        "Made by `python benchmarks/batches.py`.",
    )


def _first(result: Result, model: str) -> Measured | None:
    """The model's smallest batch that ran."""
    ran = [each for each in result.measured if each.model == model and each.peak]
    return min(ran, key=lambda each: each.batch, default=None)


def _row(each: Measured, first: Measured | None) -> list[str]:
    cells = [each.model, f"{each.height}x{each.width}", str(each.batch)]
    if each.failure or first is None:
        return [*cells, "-", each.failure, "-", "-", "-", "-"]
    cells += [_megabytes(each.loaded), _megabytes(each.peak)]
    more = each.batch - first.batch
    cells.append(_megabytes((each.peak - first.peak) / more) if more else "-")
    if not each.runs:
        return [*cells, "not measured", "-", "-"]
    time = f"{each.seconds_per_image:.3f}"
    return [*cells, f"({time})" if each.others > QUIET else time, str(len(each.runs)), f"{each.others:.2f}"]


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    run(batches)
