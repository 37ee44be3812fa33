"""The libraries of kernels and of TensorRT plugins: how they are found, opened and called.

One named by an environment variable goes first, then one beside the package, then this checkout's CMake build.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, Literal, Protocol

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.tensorrt_headers import how_to_build_plugins

Dtype = Literal["float32", "half"]
Layout = Literal["NCHW", "NHWC"]

#: ``pssdet_dtype`` and ``pssdet_layout``.
DTYPES: dict[Dtype, int] = {"float32": 0, "half": 1}
LAYOUTS: dict[Layout, int] = {"NCHW": 0, "NHWC": 1}

#: Each names the library to use instead of the one that is found.
KERNELS_VARIABLE = "PSSDET_KERNELS"
PLUGINS_VARIABLE = "PSSDET_PLUGINS"

CUDA_KERNELS = "libpssdet_kernels.so"
PLUGINS = "libpssdet_plugins.so"

HOW_TO_BUILD = "make plugin builds it in a checkout where nvcc is on PATH"

_OK, _BAD_PROBLEM = 0, 1
_LARGEST = 2**31 - 1


def find_kernels() -> Path:
    """The library of CUDA kernels; ``EnvironmentMissing`` if there is none."""
    return _find(CUDA_KERNELS, KERNELS_VARIABLE, "the library of kernels", HOW_TO_BUILD)


def find_plugins() -> Path:
    """The library of TensorRT plugins; ``EnvironmentMissing`` if there is none."""
    return _find(PLUGINS, PLUGINS_VARIABLE, f"the plugin library {PLUGINS}", how_to_build_plugins())


def kernels_beside(plugins: Path | None) -> Path | None:
    """The library that PSSDET_KERNELS names, or the path of the one with CUDA beside a library of plugins."""
    named = os.environ.get(KERNELS_VARIABLE)
    if named:
        return Path(named)
    return plugins.with_name(CUDA_KERNELS) if plugins is not None else None


class Params(Protocol):
    """What a function of a library is told first."""

    def as_c(self) -> ctypes.Structure | ctypes.Array[ctypes.c_int32]:
        """The C structure; ``BadInput`` if it has no room for these numbers, or they contradict each other."""
        ...


class KernelLibrary:
    """An opened library: ``libpssdet_kernels.so``, or one that tests build (``libpssdet_emulated.so``).

    Raises:
        EnvironmentMissing: it is not there or cannot be loaded.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or find_kernels()
        try:
            self._library = ctypes.CDLL(str(self.path))
        except OSError as error:
            raise EnvironmentMissing(f"{self.path} cannot be loaded ({error}); {HOW_TO_BUILD}") from error
        self.emulated = is_emulated(self._library)

    def _call(self, function: str, params: Params, *arguments: object) -> None:
        status = self._library[f"pssdet_{function}"](ctypes.byref(params.as_c()), *arguments)
        if status == _BAD_PROBLEM:
            raise BadInput(f"{params}: sizes, formats or tensors contradict each other or are too large")
        if status != _OK:
            said = "the GPU refused the launch: is there a GPU, and was the library built for it?"
            raise EnvironmentMissing(said)


def is_emulated(library: ctypes.CDLL) -> bool:
    """Whether its kernels run on the CPU, in the emulator, with addresses of the computer's memory."""
    return hasattr(library, "pssdet_is_emulated")


def fields(kind: Any, *names: str) -> tuple[tuple[str, Any], ...]:
    """Neighbouring fields of a ``ctypes.Structure`` that have one type."""
    return tuple((name, kind) for name in names)


def check_int32(params: object, *numbers: int) -> None:
    """Raise ``BadInput`` for numbers that ctypes would cut to 32 bits."""
    if not all(-_LARGEST <= number <= _LARGEST for number in numbers):
        raise BadInput(f"{params}: sizes must fit 32 bits")


def pointers(*addresses: int) -> list[ctypes.c_void_p]:
    """Addresses as C takes them; 0 is a null pointer."""
    return [ctypes.c_void_p(address) for address in addresses]


def _find(name: str, variable: str, what: str, how: str) -> Path:
    if named := os.environ.get(variable):
        if not Path(named).is_file():
            raise EnvironmentMissing(f"{variable} names {named}, which is not a file; {how}")
        return Path(named).resolve()
    package = Path(__file__).resolve().parents[1]
    folders = (package, package.parent / "build" / "cmake" / "lib")
    for path in (folder / name for folder in folders):
        if path.is_file():
            return path
    raise EnvironmentMissing(f"{what} is not built; {how}, and {variable} names one elsewhere")
