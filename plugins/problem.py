"""What a deformable convolution is told: sizes and formats, as ``dcnv2/dcnv2.h`` defines them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal

from pssdet.errors import BadInput

Dtype = Literal["float32", "half"]
Layout = Literal["NCHW", "NHWC"]

_LARGEST = 2**31 - 1
_DTYPES: dict[Dtype, int] = {"float32": 0, "half": 1}
_LAYOUTS: dict[Layout, int] = {"NCHW": 0, "NHWC": 1}


@dataclass(frozen=True)
class Problem:
    """Sizes of one convolution; ONNX's attributes by their names. Pads are (top, left, bottom, right)."""

    batch: int
    channels: int
    height: int
    width: int
    out_channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    groups: int = 1
    offset_groups: int = 1

    @property
    def taps(self) -> int:
        """Positions of the kernel."""
        return self.kernel[0] * self.kernel[1]

    def as_c(self) -> ctypes.Array[ctypes.c_int32]:
        """The C structure, which is 17 integers.

        Raises:
            BadInput: a number does not fit 32 bits, which ctypes would cut it to.
        """
        sizes = (self.batch, self.channels, self.height, self.width, self.out_channels)
        shape = (*self.kernel, *self.stride, *self.dilation, *self.pads)
        numbers = (*sizes, *shape, self.groups, self.offset_groups)
        if not all(-_LARGEST <= number <= _LARGEST for number in numbers):
            raise BadInput(f"{self}: sizes must fit 32 bits")
        return (ctypes.c_int32 * 17)(*numbers)


@dataclass(frozen=True)
class Format:
    """How the tensors lie in memory, and what the kernel does besides convolving; see ``dcnv2.h``."""

    data_type: Dtype = "float32"
    data_layout: Layout = "NCHW"
    offset_type: Dtype = "float32"
    offset_layout: Layout = "NCHW"
    raw_mask: bool = False
    relu: bool = False

    def as_c(self) -> ctypes.Array[ctypes.c_int32]:
        """The C structure: enumerations and integers, 32 bits each."""
        data = (_DTYPES[self.data_type], _LAYOUTS[self.data_layout])
        offset = (_DTYPES[self.offset_type], _LAYOUTS[self.offset_layout])
        return (ctypes.c_int32 * 6)(*data, *offset, self.raw_mask, self.relu)
