"""The DCNv2 library (``dcnv2/dcnv2.h``) from Python: its CPU reference, and its kernels if built with nvcc."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.problem import Dtype, Format, Problem

#: Names the library to use instead of the one that is found.
VARIABLE = "PSSDET_KERNELS"
#: Lets the library choose the tile.
AUTO_TILE = -1

_NAMES = ("libpssdet_kernels.so", "libpssdet_reference.so")
_VERSION = "1"
_OK, _BAD_PROBLEM = 0, 1
_HOW = "make plugin builds it in a checkout (a C++ compiler; with nvcc the CUDA kernels too)"

Floats = NDArray[np.float32]


def find_library() -> Path:
    """The library named by PSSDET_KERNELS, beside this package, or built in this checkout.

    One with CUDA is preferred to one without.

    Raises:
        EnvironmentMissing: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise EnvironmentMissing(f"{VARIABLE} names {named}, which is not a file; {_HOW}")
        return Path(named)
    here = Path(__file__).resolve().parent
    folders = (here, here.parent / "build" / "cmake" / "lib")
    for path in (folder / name for name in _NAMES for folder in folders):
        if path.is_file():
            return path
    raise EnvironmentMissing(f"the DCNv2 library is not built; {_HOW}, and {VARIABLE} names one elsewhere")


class Library:
    """An opened library.

    Raises:
        EnvironmentMissing: it is not there, cannot be loaded or was built from other sources.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or find_library()
        try:
            self._library = ctypes.CDLL(str(self.path))
            self._library.pssdet_dcnv2_version.restype = ctypes.c_char_p
            version = self._library.pssdet_dcnv2_version().decode()
        except (OSError, AttributeError) as error:
            raise EnvironmentMissing(f"{self.path} cannot be loaded ({error}); {_HOW}") from error
        if version != _VERSION:
            raise EnvironmentMissing(f"{self.path} has version {version}, {_VERSION} is needed; {_HOW}")

    @property
    def has_cuda(self) -> bool:
        """Whether the kernels are in it, not just the CPU reference."""
        return hasattr(self._library, "pssdet_dcnv2_run")

    def output_size(self, problem: Problem) -> tuple[int, int]:
        """Height and width of the result.

        Raises:
            BadInput: not a convolution that the library computes.
        """
        height, width = ctypes.c_int32(), ctypes.c_int32()
        status = self._library.pssdet_dcnv2_output_size(problem.as_c(), ctypes.byref(height), ctypes.byref(width))
        _check(status, problem)
        return height.value, width.value

    def pack_weights(self, problem: Problem, oihw: Floats, dtype: Dtype = "float32") -> NDArray[Any]:
        """The kernels' order of weights: [out_channels, kernel_h, kernel_w, channels / groups]."""
        self.output_size(problem)
        inputs = problem.channels // problem.groups
        source = _checked("weights", oihw, (problem.out_channels, inputs, *problem.kernel))
        packed = np.empty(
            (problem.out_channels, *problem.kernel, inputs), np.float16 if dtype == "half" else np.float32
        )
        code = ctypes.c_int32(int(dtype == "half"))
        _check(
            self._library.pssdet_dcnv2_pack_weights(problem.as_c(), code, _pointer(source), _pointer(packed)), problem
        )
        return packed

    def reference(
        self,
        problem: Problem,
        x: Floats,
        offset: Floats,
        weight: Floats,
        *,
        mask: Floats | None = None,
        bias: Floats | None = None,
        raw_mask: bool = False,
        relu: bool = False,
        exact: bool = False,
    ) -> Floats:
        """The convolution on the CPU, in float32 or, if ``exact``, in float64; slow.

        Args:
            weight: Packed; see ``pack_weights``.
            mask: Without one every value counts fully; there must be none if ``raw_mask``.
            raw_mask: The masks, before their sigmoid, are the last third of ``offset``'s channels.
        """
        size = self.output_size(problem)
        n, out, masks = problem.batch, problem.out_channels, problem.taps * problem.offset_groups
        inputs = problem.channels // problem.groups
        tensors = (
            _checked("x", x, (n, problem.channels, problem.height, problem.width)),
            _checked("offset", offset, (n, masks * (3 if raw_mask else 2), *size)),
            None if mask is None else _checked("mask", mask, (n, masks, *size)),
            _checked("weight", weight, (out, *problem.kernel, inputs)),
            None if bias is None else _checked("bias", bias, (out,)),
        )
        y = np.empty((n, out, *size), np.float32)
        flags = (ctypes.c_int32(flag) for flag in (raw_mask, relu, exact))
        pointers = (_pointer(tensor) for tensor in (*tensors, y))
        _check(self._library.pssdet_dcnv2_reference(problem.as_c(), *flags, *pointers), problem)
        return y

    def tile_count(self, problem: Problem, form: Format) -> int:
        """Tiles of the fused kernel for this problem; 0 if the general kernel computes it."""
        return int(self._cuda().pssdet_dcnv2_tile_count(problem.as_c(), form.as_c()))

    def run(
        self,
        problem: Problem,
        form: Format,
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
        """Launch the kernel on a CUDA stream. Tensors are addresses in device memory, aligned to 16 bytes; 0: none.

        Raises:
            BadInput: sizes, formats or addresses contradict each other.
            EnvironmentMissing: the launch failed, or the library was built without CUDA.
        """
        tensors = (ctypes.c_void_p(address) for address in (x, offset, mask, weight, bias, y))
        arguments = (*tensors, ctypes.c_int32(tile), ctypes.c_void_p(stream))
        _check(self._cuda().pssdet_dcnv2_run(problem.as_c(), form.as_c(), *arguments), problem)

    def _cuda(self) -> ctypes.CDLL:
        if not self.has_cuda:
            raise EnvironmentMissing(f"{self.path} was built without CUDA; put nvcc on PATH and make plugin again")
        return self._library


def _checked(name: str, tensor: Floats, shape: tuple[int, ...]) -> Floats:
    """The tensor as the library reads it; anything else would read foreign memory."""
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise BadInput(f"{name} is {tensor.dtype}{list(tensor.shape)}; float32{list(shape)} is needed")
    return np.ascontiguousarray(tensor)


def _pointer(tensor: NDArray[Any] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.ctypes.data)


def _check(status: int, problem: Problem) -> None:
    if status == _BAD_PROBLEM:
        raise BadInput(f"{problem}: sizes, formats or tensors contradict each other or are too large")
    if status != _OK:
        raise EnvironmentMissing("the GPU refused the launch: is there a GPU, and is it of an architecture built for?")
