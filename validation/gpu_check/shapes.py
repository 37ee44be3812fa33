"""The convolutions that are checked and timed: those of the detectors, and odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pssdet.plugins.bindings.deform_conv import DeformConvParams

#: Padded sizes (height, width) of the networks' inputs: rows 1 and 4, row 3, row 2.
SIZES = ((640, 640), (800, 1344), (1024, 1504))
DEPTHS = {50: (4, 6, 3), 101: (4, 23, 3)}  # DCN layers of the stages c3, c4, c5
CHANNELS = (128, 256, 512)


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
