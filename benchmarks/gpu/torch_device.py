"""The GPU by PyTorch: arrays, streams, CUDA graphs, events."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.timing import Replay, Work
from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.libraries import Dtype

Array = Any  # of PyTorch

_WARM_UP = 10
_NODE_TYPES = {
    0: "kernel",
    1: "memcpy",
    2: "memset",
    3: "host",
    4: "graph",
    5: "empty",
    10: "alloc",
    11: "free",
}


class CudaDevice:
    """The first GPU, ``EnvironmentMissing`` if there is none; in the tests NumPy takes its place."""

    xp: Any = torch  # the library of its arrays; only what NumPy and PyTorch call alike is used

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise EnvironmentMissing(
                "PyTorch finds no GPU; run this on a machine with an NVIDIA GPU and its driver"
            )
        self._properties = torch.cuda.get_device_properties(0)
        self.name = str(self._properties.name)
        self.l2_bytes = int(getattr(self._properties, "L2_cache_size", 0)) or 64 << 20
        # The baselines use cuDNN's fastest algorithm.
        torch.backends.cudnn.benchmark = True
        torch.set_grad_enabled(mode=False)

    def describe(self) -> dict[str, str]:
        """What a reader must know of the device to judge a time."""
        properties = self._properties
        return {
            "GPU": self.name,
            "compute capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": str(properties.multi_processor_count),
            "memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "L2 cache": f"{self.l2_bytes / 2**20:.0f} MiB",
            "PyTorch": str(torch.__version__),
            "CUDA of PyTorch": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }

    def normal(self, shape: Sequence[int], seed: int) -> Array:
        """float32 values of a standard normal distribution."""
        generator = torch.Generator("cuda").manual_seed(seed)
        return torch.randn(tuple(shape), generator=generator, device="cuda")

    def full(self, shape: Sequence[int], dtype: Dtype, value: float) -> Array:
        """An array of one value."""
        return torch.full(tuple(shape), value, dtype=getattr(torch, dtype), device="cuda")

    def packed(self, array: Array, dtype: Dtype) -> Array:
        """The values as that type, without gaps in memory."""
        return array.to(getattr(torch, dtype)).contiguous()

    def put(self, values: NDArray[Any]) -> Array:
        """An array from the host, its type kept."""
        return torch.from_numpy(np.ascontiguousarray(values)).to("cuda")

    def take(self, array: Array) -> NDArray[Any]:
        """An array's values on the host."""
        return np.asarray(array.cpu().numpy())

    def address(self, array: Array) -> int:
        """Where the array's first value lies in the device's memory."""
        return int(array.data_ptr())

    def stream(self) -> int:
        """Handle of the stream that work is now given to."""
        return int(torch.cuda.current_stream().cuda_stream)

    def synchronize(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        torch.cuda.synchronize()

    def at_once(self, replays: Sequence[Replay]) -> None:
        """Run the recorded works on streams of their own, at the same time, and wait."""
        streams = [torch.cuda.Stream() for _ in replays]
        torch.cuda.synchronize()
        for stream, replay in zip(streams, replays, strict=True):
            with torch.cuda.stream(stream):
                replay.run()
        torch.cuda.synchronize()

    def record(self, work: Work) -> Replay:
        """Do the work twice for warming up, off the default stream, and record it as a CUDA graph."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()
            work()
        torch.cuda.synchronize()
        graph = _new_graph()
        with torch.cuda.graph(graph):
            work()
        nodes = _count_nodes(graph)
        graph.replay()
        torch.cuda.synchronize()
        return Replay(graph.replay, work, nodes)

    def times_us(self, work: Work, iterations: int) -> list[float]:
        """Microseconds of each run, warmed up first; all are queued at once, to hide the host's own time."""
        starts, ends = ([torch.cuda.Event(enable_timing=True) for _ in range(iterations)] for _ in range(2))
        for _ in range(_WARM_UP):
            work()
        for start, end in zip(starts, ends, strict=True):
            start.record()
            work()
            end.record()
        torch.cuda.synchronize()
        return [1e3 * float(start.elapsed_time(end)) for start, end in zip(starts, ends, strict=True)]


def _new_graph() -> torch.cuda.CUDAGraph:
    try:
        return torch.cuda.CUDAGraph(keep_graph=True)
    except TypeError:  # PyTorch before 2.8: the record cannot be asked what it holds
        return torch.cuda.CUDAGraph()


def _count_nodes(graph: torch.cuda.CUDAGraph) -> dict[str, int] | None:
    """Nodes of a graph by type, as the driver says; None where it cannot be asked."""
    try:
        handle = ctypes.c_void_p(graph.raw_cuda_graph())
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_size_t()
        if driver.cuGraphGetNodes(handle, None, ctypes.byref(count)):
            return None
        nodes = (ctypes.c_void_p * count.value)()
        if driver.cuGraphGetNodes(handle, nodes, ctypes.byref(count)):
            return None
        found: Counter[str] = Counter()
        for node in nodes:
            kind = ctypes.c_int()
            if driver.cuGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)):
                return None
            found[_NODE_TYPES.get(kind.value, f"type {kind.value}")] += 1
        return dict(found)
    except (AttributeError, OSError, RuntimeError):
        return None
