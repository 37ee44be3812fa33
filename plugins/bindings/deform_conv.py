"""Deformable convolution (``dcnv2/dcnv2.h``): its kernels, for a GPU or emulated."""

from __future__ import annotations

import ctypes
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.libraries import HOW_TO_BUILD, KernelLibrary, check_int32, pointers

AUTO_TILE = -1  # lets the library choose the tile

_VERSION = "1"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DeformConvParams:
    """Sizes of one convolution: the fields of ``pssdet_dcnv2_problem``, in its order."""

    batch: int
    channels: int
    height: int
    width: int
    out_channels: int
    kernel_h: int = 3
    kernel_w: int = 3
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 1
    pad_left: int = 1
    pad_bottom: int = 1
    pad_right: int = 1
    groups: int = 1
    offset_groups: int = 1

    @property
    def taps(self) -> int:
        """Positions of the kernel, kernel_h * kernel_w."""
        return self.kernel_h * self.kernel_w

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        room = self.height + self.pad_top + self.pad_bottom - (self.dilation_h * (self.kernel_h - 1) + 1)
        return room // self.stride_h + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        room = self.width + self.pad_left + self.pad_right - (self.dilation_w * (self.kernel_w - 1) + 1)
        return room // self.stride_w + 1

    def as_c(self) -> ctypes.Array[ctypes.c_int32]:
        """The C structure, which is 17 integers."""
        numbers = astuple(self)
        check_int32(self, *numbers)
        return (ctypes.c_int32 * len(numbers))(*numbers)


@dataclass(frozen=True)
class DeformConvFormat:
    """How tensors lie in memory, and what the kernel does besides convolving: ``pssdet_dcnv2_format``."""

    half: bool = False  # x, y and the weights are half, not float32
    channels_last: bool = False  # x and y are NHWC, not NCHW
    half_offset: bool = False  # offset and mask are half
    offset_channels_last: bool = False  # offset and mask are NHWC
    raw_mask: bool = False
    relu: bool = False

    def as_c(self) -> ctypes.Array[ctypes.c_int32]:
        """The C structure: enumerations and integers, 32 bits each."""
        return (ctypes.c_int32 * 6)(*astuple(self))


class DeformConvLibrary(KernelLibrary):
    """A library's deformable convolution; ``EnvironmentMissing`` also if its interface has another version."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        try:
            self._library.pssdet_dcnv2_version.restype = ctypes.c_char_p
            self.version: str = self._library.pssdet_dcnv2_version().decode()
        except AttributeError as error:
            raise EnvironmentMissing(f"{self.path} cannot be loaded ({error}); {HOW_TO_BUILD}") from error
        if self.version != _VERSION:
            raise EnvironmentMissing(
                f"{self.path} has version {self.version}, {_VERSION} is needed; {HOW_TO_BUILD}"
            )

    @property
    def has_cuda(self) -> bool:
        """Whether it computes on a GPU: the kernels are in it, and not emulated."""
        return hasattr(self._library, "pssdet_dcnv2_run") and not self.emulated

    def output_size(self, params: DeformConvParams) -> tuple[int, int]:
        """Height and width of the result; ``BadInput`` if the library does not compute this convolution."""
        height, width = ctypes.c_int32(), ctypes.c_int32()
        self._call("dcnv2_output_size", params, ctypes.byref(height), ctypes.byref(width))
        return height.value, width.value

    def pack_weights(self, params: DeformConvParams, oihw: Floats, *, half: bool = False) -> NDArray[Any]:
        """The kernels' order of weights: [out_channels, kernel_h, kernel_w, channels / groups]."""
        self.output_size(params)
        inputs, kernel = params.channels // params.groups, (params.kernel_h, params.kernel_w)
        shape = (params.out_channels, inputs, *kernel)
        if oihw.shape != shape or oihw.dtype != np.float32:  # anything else would read foreign memory
            raise BadInput(f"weights are {oihw.dtype}{list(oihw.shape)}; float32{list(shape)} is needed")
        source = np.ascontiguousarray(oihw)
        packed = np.empty((params.out_channels, *kernel, inputs), np.float16 if half else np.float32)
        addresses = pointers(source.ctypes.data, packed.ctypes.data)
        self._call("dcnv2_pack_weights", params, ctypes.c_int32(half), *addresses)
        return packed

    def tile_count(self, params: DeformConvParams, form: DeformConvFormat) -> int:
        """Tiles of the fused kernel for this convolution; 0 if the general kernel computes it."""
        return int(self._library.pssdet_dcnv2_tile_count(params.as_c(), form.as_c()))

    def run(
        self,
        params: DeformConvParams,
        form: DeformConvFormat,
        *,
        x: int,
        offset: int,
        weight: int,
        y: int,
        mask: int = 0,
        bias: int = 0,
        tile: int = AUTO_TILE,
        stream: int = 0,
    ) -> None:
        """Launch the kernel on a CUDA stream. Tensors are addresses, aligned as ``dcnv2.h`` says; 0: none.

        Raises:
            BadInput: sizes, formats or addresses contradict each other.
            EnvironmentMissing: the launch failed.
        """
        tensors = pointers(x, offset, mask, weight, bias, y)
        self._call("dcnv2_run", params, form.as_c(), *tensors, ctypes.c_int32(tile), *pointers(stream))
