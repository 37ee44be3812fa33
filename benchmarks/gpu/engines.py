"""Engines of one model on a GPU host: right, and how fast.

    python benchmarks/gpu/engines.py CASE [--parcels artifacts/gpu] [--output benchmarks/results] [--quick] [--fresh]

CASE is a folder of ``pack.py``: mini, row4, row1 or row2. Needs a GPU, NumPy, ONNX, TensorRT, cuda-bindings and the
built plugin library (make plugin), and no network. Writes <case>_<gpu>.json, .md and what the engines found, .npz, from
which ``collect.py`` makes AP at home. A stage's result is stored as soon as it is done; a run that was stopped goes on
where it was. Exit code: 0 all well, 1 a check failed or a goal was missed, 2 usage, 3 no GPU or no TensorRT.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0:1] = [str(ROOT), str(ROOT / "src")]

from benchmarks.gpu import environment  # noqa: E402
from benchmarks.gpu.bundle import Parcel  # noqa: E402
from benchmarks.gpu.command import add_run_options, exit_code, measure, stem_of  # noqa: E402
from benchmarks.gpu.engine_goals import goals  # noqa: E402
from benchmarks.gpu.engine_report import checks, failures, render  # noqa: E402
from benchmarks.gpu.engine_stages import FULL, QUICK, Workshop, stages  # noqa: E402
from benchmarks.gpu.host import Rig  # noqa: E402
from benchmarks.gpu.suite import Campaign  # noqa: E402

CASES = ("mini", "row4", "row1", "row2")


def main(arguments: Sequence[str] | None = None, make_rig: Callable[[Path], Rig] | None = None) -> int:
    """Run one case; the exit code.

    make_rig: from the folder of the timing caches.
    """
    options = _parser().parse_args(arguments)

    def work() -> None:
        # The GPU first: without one, what else is missing does not matter.
        rig = (make_rig or gpu_rig)(options.timing_cache or options.work)
        parcel = Parcel(options.parcels / options.case)
        identity = {
            "case": options.case,
            "model": parcel.case.model,
            "seeded": parcel.case.seeded,
            "parcel": parcel.identity(),
            "benchmark": environment.hash_of(ROOT / "benchmarks" / "gpu", ROOT / "engines" / "trt"),
            **rig.identity(),
        }
        packed = {f"at home, {name}": version for name, version in parcel.case.versions.items()}
        stem = stem_of(options.case, rig.name, options)
        shop = Workshop(rig, parcel, options.work, options.output, stem, QUICK if options.quick else FULL)
        measure(campaign(shop, options.case), options.case, identity, rig.describe() | packed, options)

    return exit_code(work)


def campaign(shop: Workshop, case: str) -> Campaign:
    """The stages of a case and how they are judged."""
    judged = lambda results: goals(results, case)  # noqa: E731
    return Campaign(shop.rig.name, list(stages(shop)), shop.rig.check, render, failures, judged, checks)


def gpu_rig(caches: Path) -> Rig:
    """TensorRT on this machine's GPU."""
    from benchmarks.gpu.tensorrt_host import TensorRTRig

    return TensorRTRig(caches)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Engines of one model on a GPU host: right, and how fast.")
    parser.add_argument("case", choices=CASES, help="which")
    artifacts = ROOT / "artifacts"
    parser.add_argument("--parcels", type=Path, default=artifacts / "gpu", help="what pack.py made (%(default)s)")
    plans = artifacts / "gpu-plans"
    parser.add_argument("--work", type=Path, default=plans, help="plans (%(default)s)")
    parser.add_argument("--timing-cache", type=Path, help="folder of the timing caches (that of --work)")
    add_run_options(parser, "few iterations and pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
