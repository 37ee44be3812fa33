"""The DCNv2 kernel on a GPU: correctness and speed.

    python benchmarks/gpu/dcnv2.py [--output benchmarks/results] [--quick] [--fresh]

Needs a GPU, NumPy, PyTorch, torchvision and the built kernel library (make gpu-dcnv2 builds it), and nothing that this
project installs. Writes dcnv2_<gpu>.json and .md. A step's result is stored as soon as it is done; a run that was
stopped resumes. Exit code: 0 all well, 1 a check failed or a goal was missed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.gpu.command import add_run_options, exit_code, measure
from benchmarks.gpu.dcnv2_goals import goals
from benchmarks.gpu.dcnv2_report import checks, failures, render
from benchmarks.gpu.dcnv2_steps import FULL, QUICK, Dcnv2Bench, Workload, steps
from benchmarks.gpu.environment import ROOT, hash_of
from benchmarks.gpu.kernels import Kernels
from benchmarks.gpu.suite import Suite
from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.libraries import find_kernels


def main(arguments: Sequence[str] | None = None, make_bench: Callable[[Workload], Dcnv2Bench] | None = None) -> int:
    """Run the benchmark; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        bench = (make_bench or gpu_bench)(QUICK if options.quick else FULL)
        identity = {
            "kernels": bench.kernels.identity(),
            "benchmark": hash_of(ROOT / "benchmarks" / "gpu"),
        }
        described = bench.device.describe() | bench.kernels.describe()
        measure(suite(bench), "dcnv2", identity, described, options)

    return exit_code(work)


def suite(bench: Dcnv2Bench) -> Suite:
    """The benchmark of a device and its kernels."""

    def check() -> None:
        bench.device.synchronize()
        bench.device.full((1,), "float32", 0.0)

    return Suite(bench.device.name, list(steps(bench)), check, render, failures, checks, goals)


def gpu_bench(workload: Workload) -> Dcnv2Bench:
    """The GPU, the library and the baselines of this machine."""
    try:
        from benchmarks.gpu.baselines import BASELINES, torchvision_double
        from benchmarks.gpu.torch_device import CudaDevice
    except ImportError as error:
        raise EnvironmentMissing(f"PyTorch cannot be imported ({error}); this needs PyTorch and a GPU") from error
    return Dcnv2Bench(CudaDevice(), Kernels(find_kernels(cuda=True)), BASELINES, torchvision_double, workload)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The DCNv2 kernel on a GPU: correctness and speed.")
    add_run_options(parser, "640x640 only, few iterations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
