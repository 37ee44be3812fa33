"""The DCNv2 kernel on a GPU: correctness and speed.

    python benchmarks/gpu/dcnv2.py [--output benchmarks/results] [--quick] [--fresh]

Needs a GPU, NumPy, PyTorch, torchvision and the built kernel library (make gpu-dcnv2 builds it), and nothing
that this project installs. Writes dcnv2_<gpu>.json and .md. A step's result is stored as soon as it is done; a
run that was stopped resumes. Exit code: 0 all well, 1 a check failed or a goal was missed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.gpu.dcnv2_report import checks, failures, goals, render
from benchmarks.gpu.dcnv2_steps import FULL, QUICK, Dcnv2Bench, Workload, steps
from benchmarks.gpu.environment import ROOT, SOURCES, hash_of
from benchmarks.gpu.suite import Suite, add_run_options, exit_code, measure
from pssdet.errors import EnvironmentMissing
from pssdet.files import sha256_of
from pssdet.plugins.bindings.deform_conv import DeformConvLibrary
from pssdet.plugins.bindings.libraries import find_kernels


def main(
    arguments: Sequence[str] | None = None, make_bench: Callable[[Workload], Dcnv2Bench] | None = None
) -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(description="The DCNv2 kernel on a GPU: correctness and speed.")
    add_run_options(parser, "640x640 only, few iterations")
    options = parser.parse_args(arguments)

    def work() -> None:
        bench = (make_bench or gpu_bench)(QUICK if options.quick else FULL)
        version, path = bench.kernels.version, bench.kernels.path
        identity = {"kernels": kernels_identity(path), "benchmark": hash_of(ROOT / "benchmarks" / "gpu")}
        described = {"kernel library": f"version {version}, {path.name}, sha256 {sha256_of(path)}"}

        def check() -> None:
            bench.device.synchronize()
            bench.device.full((1,), "float32", 0.0)

        suite = Suite(bench.device.name, list(steps(bench)), check, render, failures, checks, goals)
        measure(suite, "dcnv2", identity, bench.device.describe() | described, options)

    return exit_code(work)


def gpu_bench(workload: Workload) -> Dcnv2Bench:
    """This machine's GPU, library and baselines; ``EnvironmentMissing`` if one is missing."""
    try:
        from benchmarks.gpu.baselines import BASELINES, torchvision_double
        from benchmarks.gpu.torch_device import CudaDevice
    except ImportError as error:
        raise EnvironmentMissing(
            f"PyTorch cannot be imported ({error}); this needs PyTorch and a GPU"
        ) from error
    return Dcnv2Bench(CudaDevice(), open_kernels(find_kernels()), BASELINES, torchvision_double, workload)


def open_kernels(path: Path) -> DeformConvLibrary:
    """A library of CUDA kernels; ``EnvironmentMissing`` if it cannot be loaded or is without its CUDA part."""
    kernels = DeformConvLibrary(path)
    if not kernels.has_cuda:
        raise EnvironmentMissing(f"{path} is without its CUDA kernels; build it with CUDA: make gpu-dcnv2")
    return kernels


def kernels_identity(path: Path) -> str:
    """The hash of the sources if the library is newer, else its own: two builds of the same sources differ."""
    sources = [source for folder in SOURCES for source in folder.rglob("*") if source.is_file()]
    built = path.absolute().is_relative_to(ROOT / "build")
    if built and all(source.stat().st_mtime <= path.stat().st_mtime for source in sources):
        return f"sources {hash_of(*SOURCES)}"
    return f"file {sha256_of(path)}"


if __name__ == "__main__":
    sys.exit(main())
