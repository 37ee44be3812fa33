"""The plugin library, loaded into the process in which TensorRT runs."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.tensorrt_headers import how_to_build_plugins, numbers_of, serves

#: Libraries once loaded stay: what they registered is used as long as TensorRT lives.
_loaded: dict[Path, ctypes.CDLL] = {}


def load_plugins(trt: Any, path: Path) -> None:
    """Load the library, which registers its plugins with TensorRT, once per process.

    ``trt`` must have been imported: a library opened before TensorRT registers nothing.

    Raises:
        EnvironmentMissing: it cannot be loaded, or was compiled for another TensorRT.
    """
    path = path.resolve()
    if path in _loaded:
        return
    how = how_to_build_plugins(trt.__version__)
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        compiled = library.pssdet_plugins_tensorrt_version()
    except (OSError, AttributeError) as error:
        raise EnvironmentMissing(f"{path} cannot be loaded ({error}); {how}") from error
    ours, theirs = _release(compiled), numbers_of(trt.__version__)
    if not serves(ours, theirs):
        needed, present = ".".join(map(str, ours)), ".".join(map(str, theirs))
        raise EnvironmentMissing(f"{path} was compiled for TensorRT {needed}, this is {present}; {how}")
    _loaded[path] = library


def _release(number: int) -> tuple[int, int, int]:
    """Major, minor and patch of NV_TENSORRT_VERSION, which counts majors by 10,000 since version 10."""
    thousands = 10_000 if number >= 10_000 else 1_000
    return number // thousands, number % thousands // 100, number % 100
