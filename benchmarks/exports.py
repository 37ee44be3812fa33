"""What an export costs and gives: nodes, size, time and memory of the exported graphs.

    python benchmarks/exports.py    # writes benchmarks/results/exports.md

Every detector is exported as users do it, verification included, in a process of its own: the bundled ones with
their own parameters, the others with seeded ones.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import onnx
from onnx import inliner

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import RESULTS, table
from benchmarks.shared import QUIET, ROWS, Names, check_names, others, peak_of_children, write_page
from pssdet.commands.app import run
from pssdet.console import steps
from pssdet.models.card import GraphRecord
from pssdet.models.zoo import ZOO
from pssdet.validation.evaluate import Heartbeat, run_in_subprocess

#: What an export may take on two free cores.
MOST_BYTES = 8e9
MOST_SECONDS = 180.0

HEAD = (
    "detector", "nodes as converted", "nodes, functions inlined", "function calls", "file", "s in all",
    "s converting", "s verifying", "peak memory", "others' cores", "within the limits",
)  # fmt: skip
NOTES = (
    f"Limits: {MOST_BYTES / 1e9:.0f} GB and {MOST_SECONDS:.0f} s on two free cores. In all: from Python's start"
    " to the written card, a verification against Paddle on a picture and on a batch of two at the test size"
    " included. Peak memory: of the exporting process and its converter together, pages that they share counted"
    " twice. One file serves every batch: N, H and W are free dimensions, without If, Loop, Scan or sequences"
    " (`tests/export/test_free_dimensions.py`). Times in brackets are not to be trusted: other programs used"
    " the processor meanwhile, as many cores as the last column says."
)


class Exported(NamedTuple):
    """One export; nodes are counted with the functions inlined."""

    graph: GraphRecord
    calls: int  # of functions, in the file
    kinds: Counter[str]  # nodes by operator
    size: int  # of the file, bytes
    seconds: dict[str, float]  # by step


class Costs(NamedTuple):
    """What an export cost, measured from outside."""

    peak: int  # most bytes of the exporting process and its converter together
    seconds: float  # from start to end, Python's start included
    others: float  # processor cores that other programs used meanwhile


def exports(*, models: Names = tuple(ROWS), output: Path = RESULTS) -> None:
    """Export detectors and write down what that took.

    Args:
        models: Among mini_faster, mini_cascade, row1, row2, row3, row4 (default: all).
        output: Folder of the results.
    """
    check_names(models)
    rows = []
    with steps() as progress:
        for name in models:
            progress(f"exporting {name}")
            started = perf_counter()
            with others() as busy, peak_of_children() as peak:
                found = run_in_subprocess(_export, ROWS[name])
            costs = Costs(peak[0], perf_counter() - started, busy[0])
            rows.append(_row(name, found, costs) if isinstance(found, Exported) else [name, found, *["-"] * 9])
    write_page(__file__, "Exports", table(HEAD, rows), NOTES, folder=output)


def _export(key: str | int, alive: Heartbeat) -> Exported:
    from pssdet.export.pipeline import export_model

    entry = next(entry for entry in ZOO if key in (entry.row, entry.name))
    begun: list[tuple[str, float]] = []

    def begin(step: str) -> None:
        begun.append((step, perf_counter()))
        alive()

    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        card = export_model(entry, "none" if entry.row else "", Path(folder), begin)
        begun.append(("", perf_counter()))
        model = onnx.load(Path(folder) / card.onnx.name)
    calls = sum(node.domain not in ("", "ai.onnx") for node in model.graph.node)
    kinds = Counter(node.op_type for node in inliner.inline_local_functions(model).graph.node)
    seconds = {step: end - start for (step, start), (_, end) in pairwise(begun)}
    return Exported(card.graph, calls, kinds, card.onnx.bytes, seconds)


def _row(name: str, found: Exported, costs: Costs) -> list[str]:
    times = [f"{seconds:.0f}" for seconds in (costs.seconds, *list(found.seconds.values())[1:])]
    return [
        name,
        str(found.graph.nodes_converted),
        f"{found.graph.nodes} ({found.kinds['DeformConv']} DeformConv)",
        str(found.calls),
        f"{found.size / 1e6:.0f} MB",
        *(f"({time})" if costs.others > QUIET else time for time in times),
        f"{costs.peak / 1e9:.1f} GB",
        f"{costs.others:.1f}",
        _judged(costs),
    ]


def _judged(costs: Costs) -> str:
    """Whether the limits were kept; too long a time on a busy processor decides nothing."""
    if costs.peak > MOST_BYTES:
        return "**no**, too much memory"
    if costs.seconds <= MOST_SECONDS:
        return "yes"
    return "memory yes, time not judged" if costs.others > QUIET else "**no**, too slow"


if __name__ == "__main__":
    run(exports)
