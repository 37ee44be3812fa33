"""Shapes of a detector's inputs: batches of pictures, padded to whole strides."""

from __future__ import annotations

#: (N, H, W) of a batch of padded pictures.
BatchSize = tuple[int, int, int]

#: Pictures are padded to multiples of this.
STRIDE = 32

_CHANNELS = 3


def input_shape(tensor: str, size: BatchSize) -> tuple[int, ...]:
    """Shape of the input called ``tensor`` for (N, H, W)."""
    n, height, width = size
    return (n, _CHANNELS, height, width) if tensor == "image" else (n, 2)


def typical_size(short_side: int, long_side: int) -> BatchSize:
    """(N, H, W) of one 4:3 picture, lying, resized to ``short_side`` or limited to ``long_side``."""
    typical = min(short_side, long_side * 3 / 4)
    return 1, padded(round(typical)), padded(round(typical * 4 / 3))


def padded(side: int) -> int:
    """A side with its padding, at least one stride."""
    return max(-(-side // STRIDE), 1) * STRIDE
