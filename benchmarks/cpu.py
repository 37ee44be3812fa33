"""Speed and memory of the detectors on a CPU: Paddle, the plain export, our engines, and the floor.

    python benchmarks/cpu.py                             # rows 1 to 4: benchmarks/results/cpu.md and cpu.json
    python benchmarks/cpu.py --model row4 --json FILE    # one detector, its figures as JSON

All candidates of a detector are open at once and take turns, so that ratios are of one run. Exports and engines
are made once, into --work: the bundled detectors with their own parameters, the others with seeded ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.cpu_speed.candidates import NOT_JUDGED, Prepared, inputs_of, largest_size, prepare_detector
from benchmarks.cpu_speed.page import page
from benchmarks.cpu_speed.peak_memory import peaks
from benchmarks.cpu_speed.profile import Profile, profile_of
from benchmarks.cpu_speed.results import Batch, Result, summarise
from benchmarks.cpu_speed.workers import measure
from benchmarks.documents import RESULTS, document
from benchmarks.shared import ROWS, environment, others, write_page
from pssdet.commands.app import run
from pssdet.console import Progress, steps
from pssdet.errors import GateFailed
from pssdet.files import write_atomically
from pssdet.models.zoo import ZOO, ZooEntry, find
from pssdet.validation.evaluate import Heartbeat, run_in_subprocess

WORK = Path("artifacts/benchmarks/cpu")
ALL = ("row1", "row2", "row3", "row4")
#: Rounds of a batch of several pictures, as a part of those of one picture, which take less time.
_LESS = 2
_PROFILED_RUNS = 9
_PROFILED = ("ours_fp32", "ours_bf16", "ours_int8")


def cpu(
    *,
    model: str = "",
    json: Path | None = None,
    rounds: int = 15,
    batches: Annotated[tuple[int, ...], cyclopts.Parameter(consume_multiple=True)] = (1, 4),
    work: Path = WORK,
    output: Path = RESULTS,
) -> None:
    """Measure the detectors on this CPU.

    Args:
        model: mini_faster, mini_cascade, row1 to row4 or a name of the zoo; prints and writes no page
            (default: rows 1 to 4, with the page).
        json: File of the figures (default without --model: cpu.json in the folder of the results).
        rounds: Rounds at batch 1; Paddle runs in every third, larger batches in half as many (default: 15).
        batches: Pictures of a batch (default: 1 4).
        work: Folder of the exports and engines (default: artifacts/benchmarks/cpu).
        output: Folder of the results.
    """
    results = [_measured(name, work, batches, rounds) for name in ([model] if model else ALL)]
    target = json or (None if model else output / "cpu.json")
    if target:
        content = msgspec.json.encode(results[0] if model else results)
        write_atomically(target, msgspec.json.format(content) + b"\n")
    if model:
        print(document(f"# {model} on a CPU", *page(results)))
    else:
        write_page(__file__, "Speed and memory on a CPU", *page(results), folder=output)


def _measured(name: str, work: Path, batches: tuple[int, ...], rounds: int) -> Result:
    entry = _entry(name)
    prepared = run_in_subprocess(_prepare, entry, work / entry.name)
    if not isinstance(prepared, Prepared):
        raise GateFailed(f"{name} cannot be prepared: {prepared}")
    with steps() as progress:
        timed = tuple(_timed(prepared, batch, rounds, progress) for batch in batches)
        progress(f"{name}: time by kind of operator")
        profiles = run_in_subprocess(_profiles, prepared)
        if isinstance(profiles, str):
            raise GateFailed(f"{name} cannot be profiled: {profiles}")
        memory = peaks(prepared, progress)
    return Result(
        machine=environment(),
        model=entry.name,
        name=name,
        size=largest_size(entry.preprocessing),
        seeded=prepared.seeded,
        accuracy=NOT_JUDGED if prepared.seeded else "",
        median_s=next((each.median_s for each in timed if each.batch == 1), {}),
        batches=timed,
        profiles=profiles,
        peak_bytes=memory,
        missing=prepared.missing,
    )


def _entry(name: str) -> ZooEntry:
    key = ROWS.get(name, name)
    return next((entry for entry in ZOO if entry.row == key), None) or find(str(key))


def _prepare(entry: ZooEntry, folder: Path, alive: Heartbeat) -> Prepared:
    """In a child process, since Paddle keeps its memory."""
    with steps() as progress:

        def begin(step: str) -> None:
            alive()
            progress(step)

        return prepare_detector(entry, folder, begin)


def _timed(prepared: Prepared, batch: int, rounds: int, progress: Progress) -> Batch:
    count = rounds if batch == 1 else max(1, rounds // _LESS)
    with others() as busy:
        times = measure(prepared, batch, count, progress)
    return summarise(batch, times, busy[0])


def _profiles(prepared: Prepared, alive: Heartbeat) -> dict[str, Profile]:
    from benchmarks.cpu_speed.openvino_models import layer_times

    inputs = inputs_of(prepared.card.preprocessing, 1)
    found = {}
    for name in _PROFILED:
        if name in prepared.engines:
            found[name] = profile_of(layer_times(prepared.engines[name], inputs, _PROFILED_RUNS))
            alive()
    return found


if __name__ == "__main__":
    run(cpu)
