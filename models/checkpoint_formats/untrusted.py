"""What the readers of all formats share: refusals, bytes taken in order, checked arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What to do about a damaged file, and about one of another kind.
AGAIN = "download it again"
FOREIGN = "use a checkpoint saved by PaddleDetection"

_MAX_DIMENSIONS = 8


class Refused(Exception):
    """What is wrong with a file and what to do about it, without the file's name."""


def first_few(names: Sequence[str]) -> str:
    """The first five names, for a message."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


class ByteReader:
    """Bytes that are taken from front to back; no length reaches past the end."""

    def __init__(self, content: bytes | memoryview) -> None:
        self.view = memoryview(content)
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self.view) - self.position

    def take(self, count: int) -> memoryview:
        """The next bytes, a view; raises ``Refused`` if fewer are left."""
        if count > self.left:
            raise self.too_short()
        self.position += count
        return self.view[self.position - count : self.position]

    def number(self, size: int, *, signed: bool = False) -> int:
        """The next little-endian number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def too_short(self) -> Refused:
        """An error about bytes that end before what they announce."""
        return Refused(f"ends too early (after {len(self.view)} bytes); {AGAIN}")


def check_shape(name: str, shape: Sequence[object]) -> None:
    """Raise ``Refused`` unless the dimensions are few and positive."""
    if len(shape) > _MAX_DIMENSIONS or not all(isinstance(size, int) and size > 0 for size in shape):
        raise Refused(f"holds {name} with an impossible or empty shape; {FOREIGN}")


def to_float32(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """A C-contiguous copy; raises ``Refused`` if values are not finite."""
    with np.errstate(all="ignore"):  # what overflows is found below
        parameter = values.astype(np.float32, order="C")
    if not np.isfinite(parameter).all():
        raise Refused(f"holds {name} with values that are not finite; {AGAIN}, or {FOREIGN}")
    return parameter
