"""Times of work on a GPU by CUDA's events, through cuda-bindings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pssdet.engines.trt.runtime.cuda import Cuda, Stream

WARM_UP = 10


def times_us(cuda: Cuda, stream: Stream, work: Callable[[], None], iterations: int) -> list[float]:
    """Microseconds of each of so many runs of what ``work`` puts on the stream, after some for warming up.

    Everything is queued without waiting, so that the host's own time falls into that of the runs before.
    """
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
