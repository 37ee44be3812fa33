"""The preprocessing kernel (``preprocess/preprocess.h``): from an image to an engine's input."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.libraries import fields, is_emulated, kernels_beside, pointers


class PreprocessProblem(ctypes.Structure):
    """``pssdet_preprocess_problem``."""

    _fields_ = (
        *fields(ctypes.c_int32, "height", "width", "out_height", "out_width", "padded_height", "padded_width"),
        *fields(ctypes.c_double, "scale_y", "scale_x"),
        *fields(ctypes.c_int32, "interpolation", "normalise_first"),
        *fields(ctypes.c_float * 3, "mean", "std"),
    )


@dataclass(frozen=True)
class PreprocessSteps:
    """What is done with one image; sizes are (height, width) in pixels."""

    size: tuple[int, int]  # of the image
    content: tuple[int, int]  # of the resized image
    padded: tuple[int, int]  # of the result, whose right and bottom are zero
    scale: float  # network pixels per original pixel, both axes
    cubic: bool  # else linear interpolation
    normalise_first: bool  # resize normalised values, not 8-bit pixels
    mean: tuple[float, float, float]  # of R, G, B, scaled to 0..1
    std: tuple[float, float, float]  # likewise

    def as_c(self) -> PreprocessProblem:
        """The C structure, where a scale counts the image's pixels per network pixel."""
        sizes = (*self.size, *self.content, *self.padded)
        scales = (1 / self.scale, 1 / self.scale)
        return PreprocessProblem(*sizes, *scales, self.cubic, self.normalise_first, self.mean, self.std)


class RawImage(NamedTuple):
    """One image, uint8 [H, W, 3] RGB, and what is to be done with it."""

    pixels: NDArray[np.uint8]
    steps: PreprocessSteps

    @property
    def shape(self) -> tuple[int, ...]:
        """[3, H, W] of the result."""
        return (3, *self.steps.padded)

    def padded_to(self, height: int, width: int) -> RawImage:
        """The same with more zeros at the right and bottom."""
        return self._replace(steps=replace(self.steps, padded=(height, width)))


class RawImages(NamedTuple):
    """The input ``image`` of a batch before preprocessing; all results have one size."""

    images: Sequence[RawImage]

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, 3, H, W] of the result."""
        return (len(self.images), *self.images[0].shape)


class PreprocessKernel:
    """A library's preprocessing kernel; ``EnvironmentMissing`` if it cannot be loaded or has none."""

    def __init__(self, library: Path) -> None:
        try:
            opened = ctypes.CDLL(str(library))
            self._run = opened.pssdet_preprocess_run
        except (OSError, AttributeError) as error:
            raise EnvironmentMissing(
                f"{library} has no preprocessing kernel ({error}); put nvcc on PATH, then make plugin builds it"
            ) from error
        self.emulated = is_emulated(opened)

    def run(self, steps: PreprocessSteps, pixels: int, out: int, stream: int) -> None:
        """Put the work on a stream; ``pixels`` and ``out`` are device addresses. ``BadInput`` if refused."""
        status = self._run(ctypes.byref(steps.as_c()), *pointers(pixels, out, stream))
        if status != 0:
            height, width = steps.size
            raise BadInput(
                f"the preprocessing kernel refused a picture of {width}x{height} pixels (status {status})"
            )


def find_preprocess_kernel(plugins: Path | None) -> PreprocessKernel | None:
    """The GPU's kernel, of the library named by PSSDET_KERNELS or beside the plugins; None without one."""
    library = kernels_beside(plugins)
    if library is None:
        return None
    try:
        kernel = PreprocessKernel(library)
    except EnvironmentMissing:
        return None
    return None if kernel.emulated else kernel
