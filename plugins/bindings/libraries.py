"""Where the libraries of kernels and of TensorRT plugins are looked for, and how they are opened.

The only such place: a library that an environment variable names goes first, then one beside the package, then one that
this checkout's CMake build made.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from pssdet.errors import EnvironmentMissing

#: Each names the library to use instead of the one that is found.
KERNELS_VARIABLE = "PSSDET_KERNELS"
PLUGINS_VARIABLE = "PSSDET_PLUGINS"

CUDA_KERNELS = "libpssdet_kernels.so"
CPU_REFERENCE = "libpssdet_reference.so"
PLUGINS = "libpssdet_plugins.so"

HOW_TO_BUILD = "make plugin builds it in a checkout (a C++ compiler; with nvcc the CUDA kernels too)"
HOW_TO_BUILD_PLUGINS = 'make plugin CMAKE_OPTIONS="-DTensorRT_ROOT=/path/to/TensorRT" builds it'


def find_kernels(*, cuda: bool = False) -> Path:
    """The library of kernels; one with CUDA is preferred to the CPU reference, which does not do if ``cuda``.

    Raises:
        EnvironmentMissing: there is none.
    """
    names = (CUDA_KERNELS,) if cuda else (CUDA_KERNELS, CPU_REFERENCE)
    return _find(names, KERNELS_VARIABLE, "the DCNv2 library", HOW_TO_BUILD)


def find_plugins() -> Path:
    """The library of TensorRT plugins.

    Raises:
        EnvironmentMissing: there is none.
    """
    return _find((PLUGINS,), PLUGINS_VARIABLE, f"the plugin library {PLUGINS}", HOW_TO_BUILD_PLUGINS)


def kernels_beside(plugins: Path | None) -> Path | None:
    """The library that PSSDET_KERNELS names, or the path of the one with CUDA beside a library of plugins."""
    named = os.environ.get(KERNELS_VARIABLE)
    if named:
        return Path(named)
    return plugins.with_name(CUDA_KERNELS) if plugins is not None else None


def open_library(path: Path) -> ctypes.CDLL:
    """Load a library of kernels.

    Raises:
        EnvironmentMissing: it cannot be loaded.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise EnvironmentMissing(f"{path} cannot be loaded ({error}); {HOW_TO_BUILD}") from error


def is_emulated(library: ctypes.CDLL) -> bool:
    """Whether its kernels run on the CPU, in the emulator, with addresses of the computer's memory."""
    return hasattr(library, "pssdet_is_emulated")


def _find(names: tuple[str, ...], variable: str, what: str, how: str) -> Path:
    """The first of the names that exists; each is looked for in all folders before the next one."""
    if named := os.environ.get(variable):
        if not Path(named).is_file():
            raise EnvironmentMissing(f"{variable} names {named}, which is not a file; {how}")
        return Path(named).resolve()
    package = Path(__file__).resolve().parents[1]
    folders = (package, package.parent / "build" / "cmake" / "lib")
    for path in (folder / name for name in names for folder in folders):
        if path.is_file():
            return path
    raise EnvironmentMissing(f"{what} is not built; {how}, and {variable} names one elsewhere")
