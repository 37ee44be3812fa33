"""The GPU without PyTorch: memory, a stream, CUDA graphs and events, by cuda-bindings."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.timing import Replay, Work
from pssdet.engines.devices import gpu
from pssdet.engines.trt.runtime.cuda import Cuda, DeviceBuffer, Graph, PinnedBuffer, Stream
from pssdet.errors import EnvironmentMissing

WARM_UP = 10  # runs before the first that counts


@dataclass(frozen=True)
class Memory:
    """An array's place in the GPU's memory."""

    buffer: DeviceBuffer
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class BareDevice:
    """The first GPU, with one stream; ``EnvironmentMissing`` without a GPU or cuda-bindings."""

    def __init__(self) -> None:
        found = gpu()
        if found is None:
            raise EnvironmentMissing("there is no NVIDIA GPU with a driver; run this on a machine with one")
        self._found = found
        self._cuda = Cuda()
        self._stream = Stream(self._cuda)
        self.name = found.name

    def describe(self) -> dict[str, str]:
        """What a reader must know of the device to judge a time."""
        return {
            "GPU": self.name,
            "compute capability": ".".join(map(str, self._found.capability)),
            "CUDA of the driver": self._found.cuda,
        }

    def put(self, values: NDArray[Any]) -> Memory:
        """An array from the host, its type kept."""
        values = np.ascontiguousarray(values)
        buffer = DeviceBuffer(self._cuda, values.nbytes)
        staging = PinnedBuffer(self._cuda, values.nbytes)
        staging.bytes[:] = values.reshape(-1).view(np.uint8)
        self._cuda.copy_to_device(buffer, staging, staging.size, self._stream)
        self._stream.synchronize()
        staging.close()
        memory = Memory(buffer, values.shape, values.dtype)
        weakref.finalize(memory, buffer.close)
        return memory

    def take(self, array: Memory) -> NDArray[Any]:
        """An array's values on the host."""
        staging = PinnedBuffer(self._cuda, array.buffer.size)
        self._cuda.copy_to_host(staging, array.buffer, staging.size, self._stream)
        self._stream.synchronize()
        values: NDArray[Any] = staging.bytes.copy().view(array.dtype).reshape(array.shape)
        staging.close()
        return values

    def address(self, array: Memory) -> int:
        """Where the array's first value lies in the device's memory."""
        return array.buffer.address

    def stream(self) -> int:
        """Handle of the stream that work is given to."""
        return int(self._stream.handle)

    def synchronize(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        self._cuda.call("cudaDeviceSynchronize")

    def record(self, work: Work) -> Replay:
        """Do the work for warming up and record it as a CUDA graph."""
        work()
        self._stream.synchronize()
        graph = Graph(self._cuda, self._stream, work)
        return Replay(partial(graph.launch, self._stream), (graph, work))

    def times_us(self, work: Work, iterations: int) -> list[float]:
        """Microseconds of each of so many runs, warmed up first."""
        return times_us(self._cuda, self._stream, work, iterations)


def times_us(cuda: Cuda, stream: Stream, work: Work, iterations: int) -> list[float]:
    """Microseconds of each run, warmed up first; all are queued at once, to hide the host's own time."""
    for _ in range(WARM_UP):
        work()
    with ExitStack() as held:
        pairs = [(_event(cuda, held), _event(cuda, held)) for _ in range(iterations)]
        for start, end in pairs:
            cuda.call("cudaEventRecord", start, stream.handle)
            work()
            cuda.call("cudaEventRecord", end, stream.handle)
        stream.synchronize()
        return [1e3 * float(cuda.call("cudaEventElapsedTime", start, end)) for start, end in pairs]


def _event(cuda: Cuda, held: ExitStack) -> Any:
    event = cuda.call("cudaEventCreate")
    held.callback(cuda.call, "cudaEventDestroy", event)
    return event
