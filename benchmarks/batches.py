"""Memory and time of batches of 1, 2, 4 and 8 in ONNX Runtime on a CPU.

    python benchmarks/batches.py              # writes benchmarks/results/batches.json and batches.md
    python benchmarks/batches.py --no-times   # memory only, on a machine that is busy

Every batch runs in a process of its own, so that the peak is its own. A batch that the machine's free memory
would not hold is not run, and the table says so.
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

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import RESULTS, table
from benchmarks.shared import QUIET, ROWS, Names, check_names, environment, memory, others, write_page
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

HEAD = (
    "detector", "padded size", "batch", "with the model loaded", "peak", "per further image", "s per image",
    "runs", "others' cores",
)  # fmt: skip
MEANING = (
    "Memory is the process's own, Python and ONNX Runtime included; per further image: what it grows by from"
    " the smallest batch on. The input is a random mosaic of the largest size that the detector's reader gives."
    " Times are of the network alone: the median run, divided by the batch."
)
DISTURBED = (
    "**Times in brackets are not to be trusted:** other programs used the processor meanwhile, as many cores as"
    " the last column says."
)


class Measured(msgspec.Struct, frozen=True):
    """One batch size of one detector; memory in bytes."""

    model: str
    height: int
    width: int
    batch: int
    loaded: int = 0  # with the model loaded
    peak: int = 0  # the most; 0: it did not run
    runs: tuple[float, ...] = ()  # seconds of each that counts
    others: float = 0.0  # processor cores that other programs used meanwhile
    failure: str = ""  # why there are no figures


def batches(
    *,
    models: Names = tuple(ROWS),
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
            if flaw := run_in_subprocess(_write, name, Path(folder)):
                raise GateFailed(f"{name} cannot be converted: {flaw}")
            for size in sizes:
                progress(f"{name}, {size} images")
                measured.append(_measure(Path(folder) / "model.onnx", name, size, measured, timed=not no_times))
    result = msgspec.json.encode({"environment": environment(), "measured": measured})
    write_atomically(output / "batches.json", msgspec.json.format(result) + b"\n")
    write_page(
        __file__,
        "Batches in ONNX Runtime, float32",
        table(HEAD, [_row(each, measured) for each in measured]),
        *_notes(measured),
        folder=output,
    )


def _write(name: str, folder: Path, _alive: Heartbeat) -> str:
    """Write the model; in a child process, since Paddle keeps its memory. A failure is returned as text."""
    from row_models import write_row

    write_row(ROWS[name], folder)
    return ""


def _measure(file: Path, name: str, batch: int, before: list[Measured], *, timed: bool) -> Measured:
    empty = Measured(name, *SIZES[name], batch)
    smaller = [each for each in before if each.model == name and each.peak and each.batch < batch]
    if smaller:
        last = smaller[-1]
        needed = last.loaded + (last.peak - last.loaded) * batch / last.batch
        if needed > (there := memory("meminfo", "MemAvailable")):
            reason = f"not run: about {needed / 1e9:.0f} GB needed, {there / 1e9:.0f} GB free"
            return msgspec.structs.replace(empty, failure=reason)
    found = run_in_subprocess(_run, file, empty, timed)
    return found if isinstance(found, Measured) else msgspec.structs.replace(empty, failure=f"failed: {found}")


def _run(file: Path, empty: Measured, timed: bool, alive: Heartbeat) -> Measured:  # noqa: FBT001
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
    loaded, runs = memory("self/status", "VmRSS"), []
    with others() as busy:
        # Once is not enough even for the memory: ONNX Runtime plans it anew after the first run of a shape.
        for index in range(1 + (RUNS[1] if timed else RUNS[0])):
            started = perf_counter()
            session.run(inputs)
            runs.append(perf_counter() - started)
            alive()
            if index >= RUNS[0] and sum(runs[1:]) >= SECONDS:
                break
    kept, peak = tuple(runs[1:]) if timed else (), memory("self/status", "VmHWM")
    return msgspec.structs.replace(empty, loaded=loaded, peak=peak, runs=kept, others=busy[0])


def _notes(measured: list[Measured]) -> list[str]:
    notes = [MEANING]
    if any(each.runs and each.others > QUIET for each in measured):
        notes.append(DISTURBED)
    if not any(each.runs for each in measured):
        notes.append("Times were not measured: the processor was shared with other work.")
    return notes


def _row(each: Measured, measured: list[Measured]) -> list[str]:
    cells = [each.model, f"{each.height}x{each.width}", str(each.batch)]
    if each.failure:
        return [*cells, "-", each.failure, "-", "-", "-", "-"]
    first = min((one for one in measured if one.model == each.model and one.peak), key=lambda one: one.batch)
    cells += [_megabytes(each.loaded), _megabytes(each.peak)]
    more = each.batch - first.batch
    cells.append(_megabytes((each.peak - first.peak) / more) if more else "-")
    if not each.runs:
        return [*cells, "not measured", "-", "-"]
    time = f"{median(each.runs) / each.batch:.3f}"
    return [*cells, f"({time})" if each.others > QUIET else time, str(len(each.runs)), f"{each.others:.2f}"]


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    run(batches)
