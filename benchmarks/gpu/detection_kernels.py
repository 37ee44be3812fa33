"""The detection kernels on a GPU: correctness and speed.

    python benchmarks/gpu/detection_kernels.py [--bundles artifacts/gpu] [--output benchmarks/results] [--quick]

Needs a GPU, NumPy, cuda-bindings, the folder ``kernels`` of ``pack.py`` and the built kernel library (make plugin, or
PSSDET_KERNELS). Writes kernels_<gpu>.json and .md. A step's result is stored as soon as it is done; a run that was
stopped resumes. Exit code: 0 all well, 1 a check failed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.gpu.detection_report import checks, failures, render
from benchmarks.gpu.detection_steps import KernelBench, KernelBundle, steps
from benchmarks.gpu.environment import ROOT, hash_of
from benchmarks.gpu.suite import Suite, add_bundles_option, add_run_options, exit_code, measure
from pssdet.files import sha256_of
from pssdet.plugins.bindings.detection import DetectionLibrary

QUICK_ITERATIONS = 20


def main(arguments: Sequence[str] | None = None, make_bench: Callable[[Path], KernelBench] | None = None) -> int:
    """Run the benchmark; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        made = (make_bench or gpu_bench)(options.bundles / "kernels")
        bench = replace(made, iterations=QUICK_ITERATIONS) if options.quick else made
        device, library = bench.device, bench.library.path
        identity = {
            "library": sha256_of(library),
            "bundle": bench.bundle.identity(),
            "benchmark": hash_of(ROOT / "benchmarks" / "gpu"),
        }
        described = {"kernel library": f"{library.name}, sha256 {identity['library']}"}
        suite = Suite(device.name, list(steps(bench)), device.synchronize, render, failures, checks)
        measure(suite, "kernels", identity, device.describe() | described, options)

    return exit_code(work)


def gpu_bench(bundle: Path) -> KernelBench:
    """This machine's GPU and the built library; the GPU comes first, since a machine without one needs nothing else."""
    from benchmarks.gpu.cuda_device import BareDevice
    from pssdet.plugins.bindings.libraries import find_kernels

    device = BareDevice()
    return KernelBench(device, DetectionLibrary(find_kernels(cuda=True)), KernelBundle(bundle))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The detection kernels on a GPU: correctness and speed.")
    add_bundles_option(parser)
    add_run_options(parser, "few iterations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
