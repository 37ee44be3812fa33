"""The detection kernels on a GPU: correctness and speed.

    python benchmarks/gpu/detection_kernels.py [--bundles artifacts/gpu] [--output benchmarks/results] [--quick]

Needs a GPU, NumPy, cuda-bindings, the folder ``kernels`` of ``pack.py`` and the built kernel library
(make plugin, or PSSDET_KERNELS). Writes kernels_<gpu>.json and .md. A run that was stopped resumes.
Exit code: 0 all well, 1 a check failed, 2 usage, 3 no GPU.
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

from benchmarks.documents import document, measured_table
from benchmarks.gpu.cuda_device import BareDevice
from benchmarks.gpu.detection_steps import KernelBench, KernelBundle, steps
from benchmarks.gpu.environment import ROOT, hash_of
from benchmarks.gpu.suite import (
    Results,
    Suite,
    add_bundles_option,
    add_run_options,
    environment_section,
    exit_code,
    measure,
)
from pssdet.files import sha256_of
from pssdet.plugins.bindings.detection import DetectionLibrary
from pssdet.plugins.bindings.libraries import find_kernels

QUICK_ITERATIONS = 20
_METHOD = (
    "Method: drawn tensors, the same here and at home by hash. Rows (proposals, detections) are compared as"
    " sets with those of the ONNX functions in ONNX Runtime on a CPU; region features by value, relative to the"
    " largest. Every launch is made twice; the two must agree to the bit. A time is that of a CUDA graph of ten"
    " launches, divided by ten, between two CUDA events, as the median of the runs; the tensors stay in the"
    " cache if they fit."
)


def gpu_bench(bundle: Path) -> KernelBench:
    """The GPU comes first: a machine without one needs nothing else."""
    return KernelBench(BareDevice(), DetectionLibrary(find_kernels()), KernelBundle(bundle))


def main(arguments: Sequence[str] | None = None, make_bench: Callable[[Path], KernelBench] = gpu_bench) -> int:
    """Run the benchmark; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        made = make_bench(options.bundles / "kernels")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The detection kernels on a GPU: correctness and speed.")
    add_bundles_option(parser)
    add_run_options(parser, "few iterations")
    return parser


def failures(results: Results) -> list[str]:
    """Every failed check, in words."""
    return [
        f"correctness{step}, {row['kernel']} {row['format']}: {failure}"
        for step, found in results.with_prefix("correctness")
        for row in found["rows"]
        for failure in row["failures"]
    ]


def checks(results: Results) -> str:
    """How many launches were compared, in words."""
    made = sum(len(found["rows"]) for _, found in results.with_prefix("correctness"))
    return f"{made} launches compared with the ONNX functions"


def render(results: Results) -> str:
    """The whole document."""
    failed = failures(results)
    quick = "A quick run: few iterations. " if results.identity["quick"] else ""
    head = f"{quick}{checks(results)}, {len(failed)} failures."
    return document(
        f"# Detection kernels on {results.identity['gpu']}",
        [head, *(f"- {each}" for each in failed)],
        _METHOD,
        "## Correctness",
        _correctness(results),
        "## Times",
        _times(results),
        environment_section(results),
    )


def _correctness(results: Results) -> list[str]:
    rows = [
        (
            step,
            row["kernel"],
            row["format"],
            f"{row['matched']} of {row['rows']}",
            f"{row['difference']:.1e}",
            f"{row['limit']:.0e}",
            str(len(row["failures"])),
        )
        for step, found in results.with_prefix("correctness ")
        for row in found["rows"]
    ]
    note = "The largest difference of what agrees: in pixels; of features, relative to the largest."
    return measured_table(("model", "kernel", "format", "rows", "difference", "limit", "failures"), rows, note)


def _times(results: Results) -> list[str]:
    rows = []
    for step, found in results.with_prefix("times "):
        for name, timing in found["times"].items():
            cells = [f"{timing[key]:.1f}" for key in ("median_us", "p10_us", "p90_us")]
            rows.append((step, name, *cells, _nodes(timing["nodes"], timing["sets"])))
    head = ("model", "kernel", "median", "10 %", "90 %", "nodes of one launch")
    return measured_table(head, rows, "Microseconds of one launch for the whole batch.")


def _nodes(nodes: dict[str, int] | None, launches: int) -> str:
    if nodes is None:
        return "not known"
    return ", ".join(f"{count / launches:g} {kind}" for kind, count in sorted(nodes.items()))


if __name__ == "__main__":
    sys.exit(main())
