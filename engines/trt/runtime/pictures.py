"""Pictures that become an engine's input on the GPU: resized, normalised and padded by the preprocessing kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.profile_selection import Shape
from pssdet.plugins.bindings.preprocess import Steps


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
