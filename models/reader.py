"""How a detector reads a picture, as data; ``preprocess.py`` does it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The steps of one detector's reader.

    Attributes:
        short_side: target of the shorter side, pixels.
        long_side: limit of the longer side, pixels; it wins over ``short_side``.
        interpolation: OpenCV's INTER_LINEAR or INTER_CUBIC.
        resize: ``first`` on 8-bit pixels (dygraph) or ``last`` on normalised floats (static).
        mean: per channel R, G, B, of pixels scaled to 0..1.
        std: per channel R, G, B.
        stride: zero padding at the right and bottom to a multiple of this.
    """

    short_side: Annotated[int, msgspec.Meta(gt=0, le=1 << 14)]
    long_side: Annotated[int, msgspec.Meta(gt=0, le=1 << 14)]
    interpolation: Literal["linear", "cubic"]
    resize: Literal["first", "last"]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    stride: Annotated[int, msgspec.Meta(gt=0, le=1 << 10)] = 32
