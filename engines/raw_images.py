"""Images that an engine preprocesses by itself: their pixels, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.plugins.bindings.preprocess import PreprocessSteps


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
