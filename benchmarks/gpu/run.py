"""Benchmarks on a GPU: the kernels beside other implementations, and whole engines.

    python benchmarks/gpu/run.py [BENCHMARK ...] [--bundles DIR] [--output DIR] [--fresh]

Each step has a process of its own; what a stopped run has stored is kept by the next. Writes
gpu-benchmarks.json and .md; collect.py judges them at home. README.md says what each benchmark needs.
Exit code: 0 all well, 1 a step failed or a goal was missed, 2 usage, 3 no GPU, or something is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.documents import document
from benchmarks.gpu.goals import goal_table, goals
from benchmarks.gpu.steps import BENCHMARKS, STEPS
from pssdet.errors import GateFailed
from pssdet.files import write_atomically
from pssdet.validation.gpu_check.command import Options, exit_code, judge, run, say
from pssdet.validation.gpu_check.report import markdown

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "gpu-benchmarks.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if unknown := set(given.benchmarks) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {min(unknown)!r}; choose from {', '.join(BENCHMARKS)}")
    # The processes of the steps import this folder, too.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return exit_code(
        lambda: measure(given.benchmarks, given.bundles, given.output, fresh=given.fresh), "the same command"
    )


def measure(benchmarks: Sequence[str], bundles: Path, output: Path, *, fresh: bool) -> None:
    """Run the steps of these benchmarks, all without names; raises as ``judge``, and for a missed goal."""
    options = Options(budget=float("inf"), output=output, bundles=bundles)
    names = [name for benchmark in benchmarks or BENCHMARKS for name in BENCHMARKS[benchmark]]
    sources = [ROOT / "benchmarks"]
    results = run(STEPS, names, options, output / RESULTS, say, resume=not fresh, sources=sources)
    found = goals(results)
    text = document("# Goals", goal_table(found), markdown(results, STEPS).rstrip())
    write_atomically((output / RESULTS).with_suffix(".md"), text.encode())
    say(f"wrote {output / RESULTS} and .md")
    judge(results)
    if missed := [goal.text for goal in found if goal.verdict == "missed"]:
        raise GateFailed(f"{len(missed)} goals missed, the first: {missed[0]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Benchmarks on a GPU, in steps.")
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"{', '.join(BENCHMARKS)} (all)")
    parser.add_argument(
        "--bundles", type=Path, default=ROOT / "artifacts" / "gpu", help="the bundles (%(default)s)"
    )
    folder = ROOT / "artifacts" / "gpu-benchmarks"
    parser.add_argument("--output", type=Path, default=folder, help="results, logs, plans (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget the stored results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
