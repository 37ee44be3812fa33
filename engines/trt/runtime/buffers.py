"""Memory of a batch, on the GPU and page-locked on the host, and where each tensor lies in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.cuda import Cuda, DeviceBuffer, Event, PinnedBuffer
from pssdet.engines.trt.runtime.engine import TensorSpec
from pssdet.engines.trt.shapes import InputShapes, Shape

#: Alignment that TensorRT requires of an address, bytes.
_ALIGNMENT = 256


class TensorSlot(NamedTuple):
    """The part of a buffer that one tensor occupies."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def view(self, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor in a buffer's bytes."""
        return buffer[self.offset : self.offset + self.size].view(self.dtype).reshape(self.shape)


class BufferLayout(NamedTuple):
    """Tensors one behind the other in one buffer, so that one copy transfers them all."""

    slots: Mapping[str, TensorSlot]
    size: int


def lay_out(tensors: Iterable[TensorSpec], shapes: InputShapes) -> BufferLayout:
    """Slots for tensors of these shapes, each at a multiple of 256 bytes."""
    slots, end = {}, 0
    for tensor in tensors:
        slot = TensorSlot(end, shapes[tensor.name], tensor.dtype)
        slots[tensor.name] = slot
        end += aligned(slot.size)
    return BufferLayout(slots, end)


def aligned(size: int) -> int:
    """The next multiple of 256 bytes."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class Staging:
    """A buffer on the GPU and its page-locked counterpart on the host, of one size."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._resources = ExitStack()
        self.size = 0

    def grow(self, size: int) -> None:
        """Allocate at least ``size`` bytes and twice the old size; the old memory is freed first."""
        size = max(size, 2 * self.size)
        self.close()
        with ExitStack() as resources:
            self.device = resources.enter_context(closing(DeviceBuffer(self._cuda, size)))
            self.host = resources.enter_context(closing(PinnedBuffer(self._cuda, size)))
            self._resources = resources.pop_all()
        self.size = size

    def close(self) -> None:
        """Free the memory."""
        self.size = 0
        self._resources.close()


class BufferSet:
    """The memory and the events that one batch in flight needs for itself.

    Attributes:
        number: of the set within its session.
        pixels: of raw images that become inputs on the GPU.
        uploaded, computed, downloaded: events after the steps of the batch in flight.
    """

    def __init__(self, cuda: Cuda, number: int) -> None:
        self.number = number
        with ExitStack() as resources:
            self.inputs = resources.enter_context(closing(Staging(cuda)))
            self.outputs = resources.enter_context(closing(Staging(cuda)))
            self.pixels = resources.enter_context(closing(Staging(cuda)))
            self.uploaded = resources.enter_context(closing(Event(cuda)))
            self.computed = resources.enter_context(closing(Event(cuda)))
            self.downloaded = resources.enter_context(closing(Event(cuda)))
            self._resources = resources.pop_all()

    def close(self) -> None:
        """Free everything; no work may be in flight."""
        self._resources.close()
