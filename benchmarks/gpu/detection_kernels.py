"""The detection kernels on a GPU: right, and how fast.

    python benchmarks/gpu/detection_kernels.py [--parcels artifacts/gpu] [--output benchmarks/results] [--quick]

Needs a GPU, NumPy, cuda-bindings, the folder ``kernels`` of ``pack.py`` and the built kernel library (make plugin, or
PSSDET_KERNELS). Writes kernels_<gpu>.json and .md. A stage's result is stored as soon as it is done; a run that was
stopped goes on where it was. Exit code: 0 all well, 1 a check failed, 2 usage, 3 no GPU.
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
from benchmarks.gpu.command import add_run_options, exit_code, measure  # noqa: E402
from benchmarks.gpu.detection_report import checks, failures, goals, render  # noqa: E402
from benchmarks.gpu.detection_stages import Expectations, KernelBench, stages  # noqa: E402
from benchmarks.gpu.suite import Campaign  # noqa: E402
from pssdet.files import sha256_of  # noqa: E402
from pssdet.plugins.bindings.detection import DetectionLibrary  # noqa: E402

QUICK_ITERATIONS = 20


def main(arguments: Sequence[str] | None = None, make_bench: Callable[[Path], KernelBench] | None = None) -> int:
    """Run the benchmark; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        made = (make_bench or gpu_bench)(options.parcels / "kernels")
        bench = _quick(made) if options.quick else made
        device, library = bench.device, bench.library.path
        identity = {
            "library": sha256_of(library),
            "parcel": bench.expectations.identity(),
            "benchmark": environment.hash_of(ROOT / "benchmarks" / "gpu"),
        }
        described = {"kernel library": f"{library.name}, sha256 {identity['library']}"}
        campaign = Campaign(device.name, list(stages(bench)), device.synchronize, render, failures, goals, checks)
        measure(campaign, "kernels", identity, device.describe() | described, options)

    return exit_code(work)


def gpu_bench(parcel: Path) -> KernelBench:
    """This machine's GPU and the built library; the GPU first, without which nothing else matters."""
    from benchmarks.gpu.cuda_device import BareDevice
    from pssdet.plugins.bindings.libraries import find_kernels

    device = BareDevice()
    return KernelBench(device, DetectionLibrary(find_kernels(cuda=True)), Expectations(parcel))


def _quick(bench: KernelBench) -> KernelBench:
    return KernelBench(bench.device, bench.library, bench.expectations, QUICK_ITERATIONS, bench.batches)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The detection kernels on a GPU: right, and how fast.")
    parcels = ROOT / "artifacts" / "gpu"
    parser.add_argument("--parcels", type=Path, default=parcels, help="what pack.py made (%(default)s)")
    add_run_options(parser, "few iterations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
