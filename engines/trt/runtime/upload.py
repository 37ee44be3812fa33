"""The inputs of a batch brought to the GPU: arrays by copies, raw images through the preprocessing kernel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.raw_images import RawImages
from pssdet.engines.trt.runtime.buffers import BufferLayout, BufferSet, aligned
from pssdet.engines.trt.runtime.cuda import Cuda, Stream
from pssdet.plugins.bindings.preprocess import PreprocessKernel

Inputs = Mapping[str, NDArray[np.float32] | RawImages]


class Uploader:
    """Puts inputs on the GPU, on one stream; the buffers must be free and have room for them.

    Args:
        kernel: preprocesses raw images; None: all inputs are arrays.
    """

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
