"""The inputs of a batch on their way to the GPU: arrays as they are, pictures through the preprocessing kernel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.buffers import BufferSet, Layout, aligned
from pssdet.engines.trt.runtime.cuda import Cuda, Stream
from pssdet.engines.trt.runtime.pictures import Pictures
from pssdet.plugins.bindings.preprocess import PictureKernel

Inputs = Mapping[str, NDArray[np.float32] | Pictures]


class Sender:
    """Puts inputs on the GPU, on one stream; the buffers must be free and have room for them.

    Args:
        kernel: makes pictures into an input; None: there are only arrays.
    """

    def __init__(self, cuda: Cuda, stream: Stream, kernel: PictureKernel | None) -> None:
        self._cuda = cuda
        self._stream = stream
        self.kernel = kernel

    def send(self, layout: Layout, buffers: BufferSet, inputs: Inputs) -> None:
        """Start all inputs: in one copy if they are arrays, else each by itself."""
        sent = buffers.inputs
        only_arrays = True
        for name, value in inputs.items():
            if isinstance(value, Pictures):
                only_arrays = False
            else:
                np.copyto(layout.places[name].view(sent.host.bytes), value)
        if only_arrays:
            self._cuda.copy_to_device(sent.device, sent.host, layout.size, self._stream)
            return
        for name, value in inputs.items():
            place = layout.places[name]
            if isinstance(value, Pictures):
                self.make(value, buffers, place.offset)
            else:
                self._cuda.copy_to_device(sent.device, sent.host, place.size, self._stream, place.offset)

    def make(self, pictures: Pictures, buffers: BufferSet, offset: int) -> None:
        """Start what makes pictures into an input, at ``offset`` of the inputs.

        Raises:
            ValueError: there is no kernel for it.
        """
        if self.kernel is None:
            raise ValueError("this session was opened without the kernel for pictures")
        ends = list(itertools.accumulate(aligned(each.pixels.nbytes) for each in pictures.pictures))
        begins = [0, *ends[:-1]]
        staging = buffers.pixels
        if ends[-1] > staging.size:
            staging.grow(ends[-1])  # no graph refers to it
        for begin, each in zip(begins, pictures.pictures, strict=True):
            staged = staging.host.bytes[begin : begin + each.pixels.nbytes]
            np.copyto(staged.reshape(each.pixels.shape), each.pixels)
        self._cuda.copy_to_device(staging.device, staging.host, ends[-1], self._stream)
        size = math.prod(pictures.shape[1:]) * np.dtype(np.float32).itemsize
        target = buffers.inputs.device.address + offset
        for index, (begin, each) in enumerate(zip(begins, pictures.pictures, strict=True)):
            source = staging.device.address + begin
            self.kernel.run(each.steps, source, target + index * size, int(self._stream.handle))
