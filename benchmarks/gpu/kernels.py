"""Our kernel library, as the benchmark uses it: the only module that knows its C interface (plugins/dcnv2/dcnv2.h)."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Mapping
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_void_p
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.environment import ROOT, SOURCES, hash_of
from benchmarks.gpu.shapes import Problem
from pssdet.errors import EnvironmentMissing

NAME = "libpssdet_kernels.so"
VARIABLE = "PSSDET_KERNELS"
#: Let the library choose the tile.
AUTO = -1
_STATUS = {1: "refused the problem", 2: "reports a CUDA error"}


@dataclass(frozen=True)
class Format:
    """How the tensors lie in memory: the fields of ``pssdet_dcnv2_format``, in its order; 0 or 1 each."""

    half: bool = True
    channels_last: bool = True
    half_offset: bool = False
    offset_channels_last: bool = False
    raw_mask: bool = False
    relu: bool = False


@dataclass(frozen=True)
class Addresses:
    """Where a launch's tensors lie in the device's memory; 0 where there is none."""

    x: int
    offset: int
    mask: int
    weight: int
    bias: int
    y: int


class KernelFailed(RuntimeError):
    """A function of the library returned something else than success."""


class Kernels(Protocol):
    """The library's functions that are measured."""

    def identity(self) -> str:
        """Equal for libraries whose results belong together."""
        ...

    def describe(self) -> dict[str, str]:
        """Version and file, for the record."""
        ...

    def output_size(self, problem: Problem) -> tuple[int, int]:
        """Height and width of the output."""
        ...

    def pack_weights(self, problem: Problem, oihw: NDArray[np.float32], *, half: bool) -> NDArray[Any]:
        """Weights in the kernels' order and type, flat."""
        ...

    def tile_count(self, problem: Problem, form: Format) -> int:
        """How many tiles the fused kernel has for a problem; 0 if the general kernel computes it."""
        ...

    def run(self, problem: Problem, form: Format, tensors: Addresses, tile: int, stream: int) -> None:
        """Launch on a stream.

        Raises:
            KernelFailed: the library refused it, or the launch failed.
        """
        ...


class _Problem(Structure):
    _fields_ = [(field.name, c_int32) for field in fields(Problem)]


class _Format(Structure):
    _fields_ = [(field.name, c_int32) for field in fields(Format)]


class Library:
    """The shared library of the CMake build."""

    def __init__(self, path: Path) -> None:
        try:
            self._functions = ctypes.CDLL(str(path.absolute()))
            self._declare()
        except (OSError, AttributeError) as error:
            raise EnvironmentMissing(f"cannot load {path} ({error}); build it with CUDA: make gpu-dcnv2") from error
        self._path = path

    def _declare(self) -> None:
        problem, form = POINTER(_Problem), POINTER(_Format)
        declared: dict[str, tuple[Any, list[Any]]] = {
            "version": (c_char_p, []),
            "output_size": (c_int32, [problem, POINTER(c_int32), POINTER(c_int32)]),
            "pack_weights": (c_int32, [problem, c_int32, POINTER(c_float), c_void_p]),
            "tile_count": (c_int32, [problem, form]),
            "run": (c_int32, [problem, form, *[c_void_p] * 6, c_int32, c_void_p]),
        }
        for name, (result, arguments) in declared.items():
            function = self._function(name)
            function.restype, function.argtypes = result, arguments

    def _function(self, name: str) -> Any:
        return getattr(self._functions, f"pssdet_dcnv2_{name}")

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._function(name)(*arguments)
        if status:
            raise KernelFailed(f"pssdet_dcnv2_{name} {_STATUS.get(status, f'returned {status}')}")

    def identity(self) -> str:
        """The sources' hash if the library is newer than they are, else its own.

        Two builds of the same sources differ: nvcc puts numbers of its own into each.
        """
        sources = [path for folder in SOURCES for path in folder.rglob("*") if path.is_file()]
        built = self._path.absolute().is_relative_to(ROOT / "build")
        if built and all(path.stat().st_mtime <= self._path.stat().st_mtime for path in sources):
            return f"sources {hash_of(*SOURCES)}"
        return f"file {self._digest()}"

    def describe(self) -> dict[str, str]:
        """Version, file and its hash."""
        version = self._function("version")().decode()
        return {"kernel library": f"version {version}, {self._path.name}, sha256 {self._digest()}"}

    def _digest(self) -> str:
        return hashlib.sha256(self._path.read_bytes()).hexdigest()

    def output_size(self, problem: Problem) -> tuple[int, int]:
        """Height and width of the output."""
        rows, columns = c_int32(), c_int32()
        self._call("output_size", byref(_problem(problem)), byref(rows), byref(columns))
        return rows.value, columns.value

    def pack_weights(self, problem: Problem, oihw: NDArray[np.float32], *, half: bool) -> NDArray[Any]:
        """Weights in the kernels' order and type, flat."""
        source = np.ascontiguousarray(oihw, np.float32)
        packed = np.empty(source.size, np.float16 if half else np.float32)
        values = source.ctypes.data_as(POINTER(c_float))
        self._call("pack_weights", byref(_problem(problem)), int(half), values, packed.ctypes.data)
        return packed

    def tile_count(self, problem: Problem, form: Format) -> int:
        """How many tiles the fused kernel has for a problem; 0 if the general kernel computes it."""
        return int(self._function("tile_count")(byref(_problem(problem)), byref(_format(form))))

    def run(self, problem: Problem, form: Format, tensors: Addresses, tile: int, stream: int) -> None:
        """Launch on a stream."""
        pointers = [address or None for address in astuple(tensors)]
        self._call("run", byref(_problem(problem)), byref(_format(form)), *pointers, tile, stream or None)


def _problem(problem: Problem) -> _Problem:
    return _Problem(*astuple(problem))


def _format(form: Format) -> _Format:
    return _Format(*map(int, astuple(form)))


def find_library(environment: Mapping[str, str] = os.environ, root: Path = ROOT) -> Path:
    """The library that the environment names, or that of the CMake build.

    Raises:
        EnvironmentMissing: there is none.
    """
    if named := environment.get(VARIABLE):
        if not Path(named).is_file():
            raise EnvironmentMissing(f"{VARIABLE} names {named}, which is no file; name a built {NAME}")
        return Path(named)
    built = sorted((root / "build" / "cmake").glob(f"**/{NAME}"))
    if not built:
        raise EnvironmentMissing(
            f"there is no {NAME}; build it (cmake -S . -B build/cmake && cmake --build build/cmake) or set {VARIABLE}"
        )
    return built[0]
