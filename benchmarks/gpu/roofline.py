"""The least time that a GPU can take for a convolution in half precision."""

from __future__ import annotations

from dataclasses import dataclass

from pssdet.validation.gpu_check.shapes import Problem

_HALF = 2


@dataclass(frozen=True)
class GpuPeak:
    """A GPU's dense half-precision peak (float32 sums) and its memory's bandwidth."""

    flop_per_second: float
    bytes_per_second: float
    source: str


GPUS = {  # by a part of the name that the driver gives
    "H200": GpuPeak(
        790e12, 4.3e12, "measured on such a card: random bf16 matrix product, device-to-device copy"
    ),
    "V100-SXM2": GpuPeak(125e12, 900e9, "data sheet"),
    "A100-SXM4-40GB": GpuPeak(312e12, 1555e9, "data sheet"),
    "A100-SXM4-80GB": GpuPeak(312e12, 2039e9, "data sheet"),
    "H100 80GB HBM3": GpuPeak(989e12, 3.35e12, "data sheet"),
    "Tesla T4": GpuPeak(65e12, 320e9, "data sheet"),
}


def gpu_named(name: str) -> GpuPeak | None:
    """The figures of a GPU, if they are known."""
    return next((gpu for part, gpu in GPUS.items() if part in name), None)


def flop(problem: Problem) -> int:
    """Operations of the matrix product, a multiplication and an addition being two."""
    return 2 * problem.batch * problem.pixels * problem.out_channels * problem.depth


def _tensor_bytes(problem: Problem) -> dict[str, int]:
    """Bytes of each tensor in half precision; ``columns`` is what im2col writes."""
    in_pixels, out_pixels = problem.height * problem.width, problem.pixels
    return {
        "x": _HALF * problem.batch * problem.channels * in_pixels,
        "offsets": _HALF * problem.batch * 3 * problem.offset_groups * problem.taps * out_pixels,
        "weights": _HALF * problem.out_channels * problem.depth,
        "y": _HALF * problem.batch * problem.out_channels * out_pixels,
        "columns": _HALF * problem.batch * problem.channels * problem.taps * out_pixels,
    }


def least_bytes(problem: Problem) -> int:
    """Bytes that any implementation moves."""
    return sum(size for name, size in _tensor_bytes(problem).items() if name != "columns")


def floor_us(problem: Problem, gpu: GpuPeak) -> float:
    """The least time of a fused implementation, in microseconds: that of its operations or of its bytes."""
    return 1e6 * max(flop(problem) / gpu.flop_per_second, least_bytes(problem) / gpu.bytes_per_second)


def im2col_floor_us(problem: Problem, gpu: GpuPeak) -> float:
    """The least time of two kernels: sampling into a column buffer, and the matrix product over it."""
    size = _tensor_bytes(problem)
    sampling = (size["x"] + size["offsets"] + size["columns"]) / gpu.bytes_per_second
    moved = (size["columns"] + size["weights"] + size["y"]) / gpu.bytes_per_second
    return 1e6 * (sampling + max(flop(problem) / gpu.flop_per_second, moved))
