"""How a detector or classifier reads a picture, as data; ``preprocess.py`` does it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Side = Annotated[int, msgspec.Meta(gt=0, le=1 << 14)]


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a detector's pictures are prepared; PaddleDetection calls this configuration a "reader".

    Attributes:
        short_side: target of the shorter side, pixels.
        long_side: limit of the longer side, pixels; it wins over ``short_side``.
        interpolation: OpenCV's INTER_LINEAR or INTER_CUBIC.
        resize: ``first`` on 8-bit pixels (dygraph) or ``last`` on normalised floats (static).
        mean: per channel R, G, B, of pixels scaled to 0..1; ``std`` likewise.
        stride: zero padding at the right and bottom to a multiple of this.
    """

    short_side: _Side
    long_side: _Side
    interpolation: Literal["linear", "cubic"]
    resize: Literal["first", "last"]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    stride: Annotated[int, msgspec.Meta(gt=0, le=1 << 10)] = 32


class CentreCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier reads a picture: resize its 8-bit pixels, cut out the middle, normalise.

    The shorter side becomes ``resize_short`` pixels; ``crop`` is the side of
    the square in the middle. ``mean`` and ``std`` are as in ``Preprocessing``.
    """

    resize_short: _Side = 256
    crop: _Side = 224
    interpolation: Literal["linear"] = "linear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.crop > self.resize_short:
            raise ValueError(f"a crop of {self.crop} pixels does not fit into {self.resize_short}")
