"""The DCNv2 kernel on a GPU: right, and how fast.

    python benchmarks/gpu/dcnv2.py [--output benchmarks/results] [--quick] [--fresh]

Needs a GPU, NumPy, PyTorch, torchvision and the built kernel library (make gpu-dcnv2 builds it), and nothing that this
project installs. Writes dcnv2_<gpu>.json and .md. A stage's result is stored as soon as it is done; a run that was
stopped goes on where it was. Exit code: 0 all well, 1 a check failed or a goal was missed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # In place of this script's own folder, whose modules' names are nobody else's business.
    sys.path[0:1] = [str(ROOT), str(ROOT / "src")]

from benchmarks.gpu import environment, findings  # noqa: E402
from benchmarks.gpu.command import add_run_options, exit_code, measure  # noqa: E402
from benchmarks.gpu.goals import goals  # noqa: E402
from benchmarks.gpu.kernels import Library  # noqa: E402
from benchmarks.gpu.plan import FULL, QUICK, Plan  # noqa: E402
from benchmarks.gpu.report import render  # noqa: E402
from benchmarks.gpu.results import Results  # noqa: E402
from benchmarks.gpu.stages import Bench, stages  # noqa: E402
from benchmarks.gpu.suite import Campaign  # noqa: E402
from pssdet.errors import EnvironmentMissing  # noqa: E402
from pssdet.plugins.bindings.libraries import find_kernels  # noqa: E402


def main(arguments: Sequence[str] | None = None, make_bench: Callable[[Plan], Bench] | None = None) -> int:
    """Run the benchmark; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        bench = (make_bench or gpu_bench)(QUICK if options.quick else FULL)
        identity = {
            "kernels": bench.kernels.identity(),
            "benchmark": environment.hash_of(ROOT / "benchmarks" / "gpu"),
        }
        described = bench.device.describe() | bench.kernels.describe()
        measure(campaign(bench), "dcnv2", identity, described, options)

    return exit_code(work)


def campaign(bench: Bench) -> Campaign:
    """The benchmark of a device and its kernels."""

    def check() -> None:
        bench.device.synchronize()
        bench.device.full((1,), "float32", 0.0)

    def checks(results: Results) -> str:
        return f"{findings.checks(results)} launches compared with float64"

    return Campaign(bench.device.name, list(stages(bench)), check, render, findings.failures, goals, checks)


def gpu_bench(plan: Plan) -> Bench:
    """The GPU, the library and the peers of this machine."""
    try:
        from benchmarks.gpu.baselines import PEERS, torchvision_double
        from benchmarks.gpu.torch_device import CudaDevice
    except ImportError as error:
        raise EnvironmentMissing(f"PyTorch cannot be imported ({error}); this runs where it is, on a GPU") from error
    return Bench(CudaDevice(), Library(find_kernels(cuda=True)), PEERS, torchvision_double, plan)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The DCNv2 kernel on a GPU: right, and how fast.")
    add_run_options(parser, "640x640 only, few iterations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
