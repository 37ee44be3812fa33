"""A batch in flight: its memory, its inputs brought to the GPU, and its outputs fetched."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from threading import Lock
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.profiles import InputShapes, Shape
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Event, PinnedBuffer, Stream
from pssdet.plugins.bindings.preprocess import PreprocessKernel, RawImages

#: Alignment that TensorRT requires of an address, bytes.
_ALIGNMENT = 256


class TensorSpec(NamedTuple):
    """An input or output of an engine; -1 in its shape stands for a side that varies."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]


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
    """The memory and the events of one batch in flight; ``pixels`` holds its raw images."""

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


Inputs = Mapping[str, NDArray[np.float32] | RawImages]


class Uploader:
    """Puts inputs on the GPU, on one stream; the buffers must be free and have room for them."""

    def __init__(self, cuda: Cuda, stream: Stream, kernel: PreprocessKernel | None) -> None:
        self._cuda = cuda
        self._stream = stream
        self.kernel = kernel

    def upload(self, layout: BufferLayout, buffers: BufferSet, inputs: Inputs) -> None:
        """Start all inputs: in one copy if they are arrays, else each by itself."""
        staging = buffers.inputs
        arrays = {name: value for name, value in inputs.items() if not isinstance(value, RawImages)}
        for name, value in arrays.items():
            np.copyto(layout.slots[name].view(staging.host.bytes), value)
        if len(arrays) == len(inputs):
            self._cuda.copy_to_device(staging.device, staging.host, layout.size, self._stream)
            return
        for name, given in inputs.items():
            slot = layout.slots[name]
            if isinstance(given, RawImages):
                self.preprocess(given, buffers, slot.offset)
            else:
                self._cuda.copy_to_device(staging.device, staging.host, slot.size, self._stream, slot.offset)

    def preprocess(self, images: RawImages, buffers: BufferSet, offset: int) -> None:
        """Start the work that makes raw images an input, at ``offset`` of the inputs' buffer.

        Raises:
            ValueError: there is no kernel for it.
        """
        if self.kernel is None:
            raise ValueError("this session was opened without the kernel for pictures")
        ends = list(itertools.accumulate(aligned(each.pixels.nbytes) for each in images.images))
        begins = [0, *ends[:-1]]
        staging = buffers.pixels
        if ends[-1] > staging.size:
            staging.grow(ends[-1])  # no graph refers to it
        for begin, each in zip(begins, images.images, strict=True):
            staged = staging.host.bytes[begin : begin + each.pixels.nbytes]
            np.copyto(staged.reshape(each.pixels.shape), each.pixels)
        self._cuda.copy_to_device(staging.device, staging.host, ends[-1], self._stream)
        size = math.prod(images.shape[1:]) * np.dtype(np.float32).itemsize
        target = buffers.inputs.device.address + offset
        for index, (begin, each) in enumerate(zip(begins, images.images, strict=True)):
            source = staging.device.address + begin
            self.kernel.run(each.steps, source, target + index * size, int(self._stream.handle))


Outputs = dict[str, NDArray[Any]]


@final
class InferRequest:
    """A submitted batch, to be handed to ``collect`` of the session that took it."""

    def __init__(self, session: object, number: int, buffers: BufferSet, outputs: BufferLayout) -> None:
        self.session = session
        self.number = number
        self.collected = False
        self._lock = Lock()
        self._buffers: BufferSet | None = buffers
        self._layout = outputs
        self._outputs: Outputs = {}
        self._error: CudaFailure | None = None

    @property
    def done(self) -> bool:
        """Whether its buffers are free again."""
        return self._buffers is None

    @property
    def failed(self) -> bool:
        """Whether CUDA failed, so that its work may still be in flight."""
        return self._error is not None

    def finish(self) -> None:
        """Wait for its outputs and copy them; any thread may call this, the first does the work."""
        with self._lock:
            if self._buffers is None:
                return
            try:
                self._buffers.downloaded.synchronize()
                memory = self._buffers.outputs.host.bytes
                self._outputs = {name: _copied(slot.view(memory)) for name, slot in self._layout.slots.items()}
            except CudaFailure as error:
                self._error = error
            self._buffers = None

    def take(self) -> Outputs:
        """The outputs, which can be taken once; raises the error if CUDA failed."""
        with self._lock:
            if self.collected:
                raise ValueError("this batch was collected before")
            self.collected = True
            if self._error is not None:
                raise self._error
            outputs, self._outputs = self._outputs, {}
            return outputs


def _copied(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32 if values.dtype == np.float16 else values.dtype)
