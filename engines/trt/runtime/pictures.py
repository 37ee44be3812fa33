"""Pictures that become an engine's input on the GPU: resized, normalised and padded by the preprocessing kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.profile_selection import Shape
from pssdet.errors import BadInput, EnvironmentMissing

_VARIABLE = "PSSDET_KERNELS"
_NAME = "libpssdet_kernels.so"


@dataclass(frozen=True)
class Steps:
    """What is done with one picture; see ``plugins/preprocess/preprocess.h``.

    Attributes:
        size: (height, width) of the picture, pixels.
        content: of the resized picture.
        padded: of the result, whose right and bottom are zero.
        scale: network pixels per original pixel, both axes.
        cubic: interpolate cubically instead of linearly.
        normalise_first: resize normalised values instead of 8-bit pixels.
        mean: per channel R, G, B, of pixels scaled to 0..1.
        std: per channel R, G, B.
    """

    size: tuple[int, int]
    content: tuple[int, int]
    padded: tuple[int, int]
    scale: float
    cubic: bool
    normalise_first: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Picture(NamedTuple):
    """One picture, uint8 [H, W, 3] RGB, and what is to be done with it."""

    pixels: NDArray[np.uint8]
    steps: Steps

    @property
    def shape(self) -> Shape:
        """[3, H, W] of the result."""
        return (3, *self.steps.padded)

    def padded_to(self, height: int, width: int) -> Picture:
        """The same with more zeros at the right and bottom."""
        return self._replace(steps=replace(self.steps, padded=(height, width)))


class Pictures(NamedTuple):
    """The input ``image`` of a batch, still to be made; all results have one size."""

    pictures: Sequence[Picture]

    @property
    def shape(self) -> Shape:
        """[N, 3, H, W] of the result."""
        return (len(self.pictures), *self.pictures[0].shape)


class PictureKernel:
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

    def run(self, steps: Steps, pixels: int, out: int, stream: int) -> None:
        """Put the work on a stream; ``pixels`` and ``out`` are addresses in device memory.

        Raises:
            BadInput: the kernel refuses such a picture.
        """
        problem = as_problem(steps)
        if (status := self._run(ctypes.addressof(problem), pixels, out, stream)) != 0:
            height, width = steps.size
            raise BadInput(f"the preprocessing kernel refused a picture of {width}x{height} pixels (status {status})")


def picture_kernel(plugins: Path | None) -> PictureKernel | None:
    """The kernel of the library named by PSSDET_KERNELS, or of the one beside the plugins; None if there is none."""
    named = os.environ.get(_VARIABLE)
    library = Path(named) if named else plugins.with_name(_NAME) if plugins is not None else None
    if library is None:
        return None
    try:
        return PictureKernel(library)
    except EnvironmentMissing:
        return None


class Problem(ctypes.Structure):
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


def as_problem(steps: Steps) -> Problem:
    """The steps as the C interface takes them, where a scale is of the picture's pixels per network pixel."""
    factors = (1 / steps.scale, 1 / steps.scale)
    sizes = (*steps.size, *steps.content, *steps.padded)
    return Problem(
        *sizes,
        *factors,
        int(steps.cubic),
        int(steps.normalise_first),
        (ctypes.c_float * 3)(*steps.mean),
        (ctypes.c_float * 3)(*steps.std),
    )
