"""The convolutions that are checked and timed, and the least time that a GPU can take for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pssdet.plugins.bindings.deform_conv import DeformConvParams

#: Padded sizes (height, width) of the networks' inputs: rows 1 and 4, row 3, row 2.
SIZES = ((640, 640), (800, 1344), (1024, 1504))
DEPTHS = {50: (4, 6, 3), 101: (4, 23, 3)}  # DCN layers of the stages c3, c4, c5
CHANNELS = (128, 256, 512)
_HALF = 2


@dataclass(frozen=True)
class Problem(DeformConvParams):
    """Sizes of one convolution, and what follows from them for its matrix product."""

    @property
    def pixels(self) -> int:
        """Pixels of one image's output."""
        return self.out_height * self.out_width

    @property
    def depth(self) -> int:
        """Products of one output value: the K of the matrix product."""
        return self.channels // self.groups * self.taps

    @property
    def flop(self) -> int:
        """Operations of the matrix product, a multiplication and an addition being two."""
        return 2 * self.batch * self.pixels * self.out_channels * self.depth


@dataclass(frozen=True)
class Layer:
    """A layer of a network and how many it has of this shape, one after the other."""

    name: str
    problem: Problem
    count: int = 1


def shapes(depth: int, size: tuple[int, int], batch: int, channels: Sequence[int] = CHANNELS) -> list[Layer]:
    """A network's distinct shapes with their counts: of c3, c4, c5 the first (stride 2) and its followers."""
    found = []
    for number, (count, width) in enumerate(zip(DEPTHS[depth], channels, strict=True), start=3):
        rows, columns = (side >> (number - 1) for side in size)
        first = Problem(batch, width, rows, columns, width, stride_h=2, stride_w=2)
        later = Problem(batch, width, first.out_height, first.out_width, width)
        found += [Layer(f"c{number}.0", first), Layer(f"c{number}.1", later, count - 1)]
    return found


def layers(depth: int, size: tuple[int, int], batch: int, channels: Sequence[int] = CHANNELS) -> list[Layer]:
    """All DCN layers of a network in their order, 13 or 30."""
    return [
        Layer(f"{shape.name[:2]}.{int(shape.name[3:]) + number}", shape.problem)
        for shape in shapes(depth, size, batch, channels)
        for number in range(shape.count)
    ]


ODD = {  # what the detectors do not have but the interface allows
    "3x3 on 9x11": Problem(1, 64, 9, 11, 64),
    "stride 2, batch of 3": Problem(3, 32, 11, 8, 32, stride_h=2, stride_w=2),
    "outputs not a multiple of any tile": Problem(2, 40, 7, 10, 264),
    "2x3, dilated, uneven padding": Problem(1, 24, 10, 9, 72, 2, 3, 1, 2, 2, 1, 0, 2, 1, 0),
    "1x1, one pixel": Problem(1, 8, 1, 1, 8, 1, 1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0),
    "1x1, 513 pixels in a row": Problem(
        1, 48, 1, 513, 16, 1, 1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0
    ),
    "one row, prime width": Problem(5, 16, 1, 127, 8),
    "K of 4608 on 13x7": Problem(2, 512, 13, 7, 512),
    "5x5": Problem(1, 12, 8, 9, 10, 5, 5, pad_top=2, pad_left=2, pad_bottom=2, pad_right=2),
    "odd channels": Problem(2, 5, 6, 7, 3),
    "groups": Problem(1, 16, 6, 7, 16, groups=4, offset_groups=2),
    "groups and offset groups, stride (2, 1)": Problem(2, 24, 8, 9, 12, 3, 3, 2, 1, 1, 2, 1, 2, 1, 2, 2, 3),
    "as many offset groups as channels": Problem(1, 8, 9, 8, 16, offset_groups=8),
    "padding wider than the image": Problem(1, 16, 2, 3, 8, pad_top=4, pad_left=5, pad_bottom=4, pad_right=5),
}


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
    return 1e6 * max(problem.flop / gpu.flop_per_second, least_bytes(problem) / gpu.bytes_per_second)


def im2col_floor_us(problem: Problem, gpu: GpuPeak) -> float:
    """The least time of two kernels: sampling into a column buffer, and the matrix product over it."""
    size = _tensor_bytes(problem)
    sampling = (size["x"] + size["offsets"] + size["columns"]) / gpu.bytes_per_second
    moved = (size["columns"] + size["weights"] + size["y"]) / gpu.bytes_per_second
    return 1e6 * (sampling + max(problem.flop / gpu.flop_per_second, moved))
