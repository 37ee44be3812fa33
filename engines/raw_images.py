"""Images that an engine preprocesses by itself: their pixels, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PreprocessSteps:
    """What is done with one image; see ``plugins/preprocess/preprocess.h``.

    Attributes:
        size: (height, width) of the image, pixels.
        content: (height, width) of the resized image.
        padded: (height, width) of the result, whose right and bottom are zero.
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
