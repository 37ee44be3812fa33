"""Where the tensors of a batch lie, on both sides of the bus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.cuda import Cuda, DeviceBuffer, Event, PinnedBuffer
from pssdet.engines.trt.runtime.engine import Tensor
from pssdet.engines.trt.runtime.profile_selection import Shape, Shapes

#: What TensorRT asks of an address.
_ALIGNMENT = 256

_Closable = TypeVar("_Closable", DeviceBuffer, PinnedBuffer)


class Place(NamedTuple):
    """A tensor's place in a buffer."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def view(self, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor in a buffer's bytes."""
        return buffer[self.offset : self.offset + self.size].view(self.dtype).reshape(self.shape)


class Layout(NamedTuple):
    """Tensors one behind the other in one buffer, so that one copy takes them all over the bus."""

    places: Mapping[str, Place]
    size: int


def lay_out(tensors: Iterable[Tensor], shapes: Shapes) -> Layout:
    """Places of tensors of these shapes, each at a multiple of 256 bytes."""
    places, end = {}, 0
    for tensor in tensors:
        place = Place(end, shapes[tensor.name], tensor.dtype)
        places[tensor.name] = place
        end += aligned(place.size)
    return Layout(places, end)


def aligned(size: int) -> int:
    """The next multiple of 256 bytes."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class Staging:
    """The same bytes twice: on the GPU, and page-locked on the host."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held = ExitStack()
        self.size = 0

    def grow(self, size: int) -> None:
        """Take new memory of at least ``size`` bytes and twice the old, which is given back first."""
        size = max(size, 2 * self.size)
        self.close()
        with ExitStack() as held:
            self.device = _kept(held, DeviceBuffer(self._cuda, size))
            self.host = _kept(held, PinnedBuffer(self._cuda, size))
            self._held = held.pop_all()
        self.size = size

    def close(self) -> None:
        """Give the memory back."""
        self.size = 0
        self._held.close()


def _kept(held: ExitStack, resource: _Closable) -> _Closable:
    return held.enter_context(closing(resource))


class BufferSet:
    """What one batch on its way needs for itself.

    Attributes:
        number: tells the sets of a session apart.
        pixels: pictures that become inputs on the GPU.
        uploaded, computed, downloaded: the steps of the batch that is on its way.
    """

    def __init__(self, cuda: Cuda, number: int) -> None:
        self.number = number
        with ExitStack() as held:
            self.inputs = held.enter_context(closing(Staging(cuda)))
            self.outputs = held.enter_context(closing(Staging(cuda)))
            self.pixels = held.enter_context(closing(Staging(cuda)))
            self.uploaded = held.enter_context(closing(Event(cuda)))
            self.computed = held.enter_context(closing(Event(cuda)))
            self.downloaded = held.enter_context(closing(Event(cuda)))
            self._held = held.pop_all()

    def close(self) -> None:
        """Give everything back; nothing may be on its way."""
        self._held.close()
