"""The kernel that makes raw images an engine's input on the GPU: it resizes, normalises and pads them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from pssdet.engines.raw_images import PreprocessSteps
from pssdet.errors import BadInput, EnvironmentMissing

_VARIABLE = "PSSDET_KERNELS"
_NAME = "libpssdet_kernels.so"


class PreprocessKernel:
    """The preprocessing kernel of ``libpssdet_kernels.so``.

    Raises:
        EnvironmentMissing: the library cannot be loaded or is without it.
    """

    def __init__(self, library: Path) -> None:
        try:
            self._run = ctypes.CDLL(str(library)).pssdet_preprocess_run
        except (OSError, AttributeError) as error:
            raise EnvironmentMissing(
                f"{library} has no preprocessing kernel ({error}); put nvcc on PATH, then make plugin builds it"
            ) from error
        self._run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

    def run(self, steps: PreprocessSteps, pixels: int, out: int, stream: int) -> None:
        """Put the work on a stream; ``pixels`` and ``out`` are addresses in device memory.

        Raises:
            BadInput: the kernel refuses such an image.
        """
        problem = as_problem(steps)
        if (status := self._run(ctypes.addressof(problem), pixels, out, stream)) != 0:
            height, width = steps.size
            raise BadInput(f"the preprocessing kernel refused a picture of {width}x{height} pixels (status {status})")


def find_preprocess_kernel(plugins: Path | None) -> PreprocessKernel | None:
    """The kernel of the library named by PSSDET_KERNELS, or of the one beside the plugins; None if there is none."""
    named = os.environ.get(_VARIABLE)
    library = Path(named) if named else plugins.with_name(_NAME) if plugins is not None else None
    if library is None:
        return None
    try:
        return PreprocessKernel(library)
    except EnvironmentMissing:
        return None


class PreprocessProblem(ctypes.Structure):
    """``pssdet_preprocess_problem``."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("out_height", ctypes.c_int32),
        ("out_width", ctypes.c_int32),
        ("padded_height", ctypes.c_int32),
        ("padded_width", ctypes.c_int32),
        ("scale_y", ctypes.c_double),
        ("scale_x", ctypes.c_double),
        ("interpolation", ctypes.c_int32),
        ("normalise_first", ctypes.c_int32),
        ("mean", ctypes.c_float * 3),
        ("std", ctypes.c_float * 3),
    )


def as_problem(steps: PreprocessSteps) -> PreprocessProblem:
    """The steps as the C interface takes them, where a scale counts the image's pixels per network pixel."""
    factors = (1 / steps.scale, 1 / steps.scale)
    sizes = (*steps.size, *steps.content, *steps.padded)
    return PreprocessProblem(
        *sizes,
        *factors,
        int(steps.cubic),
        int(steps.normalise_first),
        (ctypes.c_float * 3)(*steps.mean),
        (ctypes.c_float * 3)(*steps.std),
    )
