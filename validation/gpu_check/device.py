"""The GPU by cuda-bindings alone: arrays, a stream, CUDA graphs, events."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.devices import gpu
from pssdet.engines.trt.runtime.cuda import Cuda, DeviceBuffer, Graph, PinnedBuffer, Stream
from pssdet.errors import EnvironmentMissing

WARM_UP = 10  # runs before the first that counts

Work = Callable[[], None]


@dataclass(frozen=True)
class Memory:
    """An array's place in the GPU's memory."""

    buffer: DeviceBuffer
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Replay:
    """Recorded work that can be run again.

    Attributes:
        keeps: what the record refers to and must not be freed; first of all the graph, if it is one of ours.
    """

    run: Work
    keeps: object
    is_graph: bool = True


class BareDevice:
    """The first GPU, with one stream; ``EnvironmentMissing`` without a GPU or cuda-bindings."""

    def __init__(self) -> None:
        found = gpu()
        if found is None:
            raise EnvironmentMissing("there is no NVIDIA GPU with a driver; run this on a machine with one")
        self.cuda = Cuda()
        self._stream = Stream(self.cuda)
        self.name = found.name

    @property
    def l2_bytes(self) -> int:
        """Size of the second-level cache."""
        attribute = self.cuda.runtime.cudaDeviceAttr.cudaDevAttrL2CacheSize
        return int(self.cuda.call("cudaDeviceGetAttribute", attribute, 0)) or 64 << 20

    def put(self, values: NDArray[Any]) -> Memory:
        """An array from the host, its type kept."""
        values = np.ascontiguousarray(values)
        buffer = DeviceBuffer(self.cuda, values.nbytes)
        with closing(PinnedBuffer(self.cuda, values.nbytes)) as staging:
            staging.bytes[:] = values.reshape(-1).view(np.uint8)
            self.cuda.copy_to_device(buffer, staging, staging.size, self._stream)
            self._stream.synchronize()
        memory = Memory(buffer, values.shape, values.dtype)
        weakref.finalize(memory, buffer.close)
        return memory

    def take(self, array: Memory) -> NDArray[Any]:
        """An array's values on the host."""
        with closing(PinnedBuffer(self.cuda, array.buffer.size)) as staging:
            self.cuda.copy_to_host(staging, array.buffer, staging.size, self._stream)
            self._stream.synchronize()
            values: NDArray[Any] = staging.bytes.copy().view(array.dtype).reshape(array.shape)
        return values

    def address(self, array: Memory) -> int:
        """Where the array's first value lies in the device's memory."""
        return array.buffer.address

    def stream(self) -> int:
        """Handle of the stream that work is given to."""
        return int(self._stream.handle)

    def synchronize(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        self.cuda.call("cudaDeviceSynchronize")

    def record(self, work: Work) -> Replay:
        """Do the work for warming up and record it as a CUDA graph."""
        work()
        self._stream.synchronize()
        graph = Graph(self.cuda, self._stream, work)
        return Replay(partial(graph.launch, self._stream), (graph, work))

    def at_once(self, works: Sequence[Work]) -> None:
        """Record the works and run the records on streams of their own, at the same time; wait for them."""
        graphs = [Graph(self.cuda, self._stream, work) for work in works]
        with ExitStack() as held:
            streams = [held.enter_context(closing(Stream(self.cuda))) for _ in graphs]
            for graph, stream in zip(graphs, streams, strict=True):
                graph.launch(stream)
            self.synchronize()
        for graph in graphs:
            graph.close()

    def times_us(self, work: Work, iterations: int) -> list[float]:
        """Microseconds of each of so many runs, warmed up first."""
        return times_us(self.cuda, self._stream, work, iterations)


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


def run_all(works: Sequence[Work]) -> None:
    """One after the other."""
    for work in works:
        work()


def spread(times_us: Sequence[float], *shares: float) -> dict[str, float]:
    """Median and further quantiles in microseconds, by names such as ``p95_us``."""
    named = {"median_us": 0.5, **{f"p{round(100 * share)}_us": share for share in shares}}
    return {name: round(float(np.quantile(times_us, share)), 2) for name, share in named.items()}
