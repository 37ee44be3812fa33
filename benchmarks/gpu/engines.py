"""Engines of one model on a GPU host: correctness and speed.

    python benchmarks/gpu/engines.py CASE [--bundles artifacts/gpu] [--output benchmarks/results]
                                          [--quick] [--fresh]

CASE is a folder of ``pack.py``: mini, row4, row1 or row2. Needs a GPU, NumPy, ONNX, TensorRT,
cuda-bindings and the built plugin library (make plugin). Writes <case>_<gpu>.json, .md and the
detections, .npz, from which ``collect.py`` computes AP at home. A run that was stopped resumes.
Exit code: 0 all well, 1 a check failed or a goal was missed, 2 usage, 3 no GPU or no TensorRT.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.gpu.bundle import Bundle
from benchmarks.gpu.engine_report import checks, failures, goals, render
from benchmarks.gpu.engine_steps import FULL, QUICK, EngineBench, steps
from benchmarks.gpu.environment import ROOT, hash_of
from benchmarks.gpu.suite import Suite, add_bundles_option, add_run_options, exit_code, measure, stem_of
from benchmarks.gpu.tensorrt_host import TensorRTHost

CASES = ("mini", "row4", "row1", "row2")


def main(
    arguments: Sequence[str] | None = None, make_host: Callable[[Path], TensorRTHost] = TensorRTHost
) -> int:
    """Run one case; the exit code. ``make_host`` is given the folder of the timing caches."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        # The GPU first: without one, what else is missing does not matter.
        host = make_host(options.timing_cache or options.work)
        bundle = Bundle(options.bundles / options.case)
        identity = {
            "case": options.case,
            "model": bundle.case.model,
            "seeded": bundle.case.seeded,
            "bundle": bundle.identity(),
            "benchmark": hash_of(ROOT / "benchmarks" / "gpu", ROOT / "engines" / "trt"),
            **host.identity(),
        }
        packed = {f"at home, {name}": version for name, version in bundle.case.versions.items()}
        stem = stem_of(options.case, host.name, options)
        workload = QUICK if options.quick else FULL
        bench = EngineBench(host, bundle, options.work, options.output, stem, workload)
        judged = partial(goals, case=options.case)
        suite = Suite(host.name, list(steps(bench)), host.check, render, failures, checks, judged)
        measure(suite, options.case, identity, host.describe() | packed, options)

    return exit_code(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Engines of one model on a GPU host: correctness and speed.")
    parser.add_argument("case", choices=CASES, help="which")
    add_bundles_option(parser)
    plans = ROOT / "artifacts" / "gpu-plans"
    parser.add_argument("--work", type=Path, default=plans, help="plans (%(default)s)")
    parser.add_argument("--timing-cache", type=Path, help="folder of the timing caches (that of --work)")
    add_run_options(parser, "few iterations and pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
