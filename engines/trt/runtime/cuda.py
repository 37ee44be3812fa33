"""The CUDA runtime through cuda-bindings, with errors that say what to do.

Whatever owns a resource of the GPU has ``close()``, which frees it once, however often it is called.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import EnvironmentMissing

_INSTALL = "pip install 'cuda-bindings>=12.9,<13' (for drivers from 525 on; 13 needs 580)"

_BROKEN = "a kernel failed and this process cannot use the GPU any more; start it again"

#: What to do about an error, by its name; errors that are not listed need no advice.
_ADVICE = {
    "cudaErrorMemoryAllocation": "run smaller batches, or end other programs on this GPU",
    "cudaErrorInsufficientDriver": "install the NVIDIA driver, or a cuda-bindings that is not newer than it",
    "cudaErrorNoDevice": "check nvidia-smi and CUDA_VISIBLE_DEVICES",
    "cudaErrorDevicesUnavailable": "another program has the GPU to itself; end it",
    "cudaErrorNoKernelImageForDevice": "build the plugins for this GPU's architecture"
    " (CMAKE_CUDA_ARCHITECTURES)",
    "cudaErrorIllegalAddress": _BROKEN,
    "cudaErrorMisalignedAddress": _BROKEN,
    "cudaErrorLaunchFailure": _BROKEN,
}


class CudaFailure(EnvironmentMissing):
    """A call of the CUDA runtime failed; ``name`` is CUDA's, such as ``cudaErrorMemoryAllocation``."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name


class Cuda:
    """The CUDA runtime, once a driver and a device have answered.

    Raises:
        EnvironmentMissing: cuda-bindings is not installed, or there is no driver or no device.
    """

    def __init__(self) -> None:
        self.runtime = _runtime()
        if self.call("cudaGetDeviceCount") == 0:
            raise CudaFailure("cudaErrorNoDevice", f"there is no NVIDIA GPU; {_ADVICE['cudaErrorNoDevice']}")

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the runtime; returns its value beside the error, if it has one.

        Raises:
            CudaFailure: it returned an error.
        """
        error, *values = getattr(self.runtime, function)(*arguments)
        if int(error) != 0:
            raise self._failure(function, error)
        return values[0] if values else None

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """A block whose calls go to ``device``; the thread's current device is restored afterwards."""
        before = self.call("cudaGetDevice")
        if before == device:
            yield
            return
        self.call("cudaSetDevice", device)
        try:
            yield
        finally:
            # This fails only where the GPU is lost, which another call reports.
            with suppress(CudaFailure):
                self.call("cudaSetDevice", before)

    def copy_to_device(
        self, target: DeviceBuffer, source: PinnedBuffer, size: int, stream: Stream, offset: int = 0
    ) -> None:
        """Start copying ``size`` bytes from ``offset`` on to the same place on the GPU."""
        kind = self.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call(
            "cudaMemcpyAsync", target.address + offset, source.address + offset, size, kind, stream.handle
        )

    def copy_to_host(self, target: PinnedBuffer, source: DeviceBuffer, size: int, stream: Stream) -> None:
        """Start copying the first ``size`` bytes from the GPU."""
        kind = self.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", target.address, source.address, size, kind, stream.handle)

    def _failure(self, function: str, error: Any) -> CudaFailure:
        name, text = (self._words(question, error) for question in ("cudaGetErrorName", "cudaGetErrorString"))
        # CUDA also remembers a recoverable error, and anybody's next check would find it.
        self.runtime.cudaGetLastError()
        advice = f"; {_ADVICE[name]}" if name in _ADVICE else ""
        return CudaFailure(name, f"CUDA's {function} failed: {name} ({text}){advice}")

    def _words(self, question: str, error: Any) -> str:
        _, words = getattr(self.runtime, question)(error)
        return words.decode() if isinstance(words, bytes) else str(words)


class _Resource:
    """A handle of the runtime and the function that frees it."""

    def __init__(self, cuda: Cuda, handle: Any, release: str) -> None:
        self._cuda = cuda
        self._handle: Any = handle
        self._release = release

    @property
    def handle(self) -> Any:
        """The runtime's own handle or address; an error after ``close()``."""
        if self._handle is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle

    def close(self) -> None:
        """Free it, once."""
        handle, self._handle = self._handle, None
        if handle is not None:
            # An error here is one of earlier work, which was reported or does not matter any more.
            with suppress(CudaFailure):
                self._cuda.call(self._release, handle)


class Event(_Resource):
    """A point in a stream's work to wait for; it records no time."""

    def __init__(self, cuda: Cuda) -> None:
        flags = cuda.runtime.cudaEventDisableTiming
        super().__init__(cuda, cuda.call("cudaEventCreateWithFlags", flags), "cudaEventDestroy")

    def synchronize(self) -> None:
        """Wait until the work before it is done; at once if it was never recorded."""
        self._cuda.call("cudaEventSynchronize", self.handle)


class Stream(_Resource):
    """A queue of work that runs in its order, concurrently with other streams."""

    def __init__(self, cuda: Cuda) -> None:
        # Non-blocking: work of others on the legacy default stream must not hold it up.
        flags = cuda.runtime.cudaStreamNonBlocking
        super().__init__(cuda, cuda.call("cudaStreamCreateWithFlags", flags), "cudaStreamDestroy")

    def record(self, event: Event) -> None:
        """Record the event after all work so far."""
        self._cuda.call("cudaEventRecord", event.handle, self.handle)

    def wait_for(self, event: Event) -> None:
        """Make later work wait for the event; the caller does not wait."""
        self._cuda.call("cudaStreamWaitEvent", self.handle, event.handle, 0)

    def synchronize(self) -> None:
        """Wait until all its work is done."""
        self._cuda.call("cudaStreamSynchronize", self.handle)


class _Buffer(_Resource):
    """Memory of ``size`` bytes, contents undefined."""

    def __init__(self, cuda: Cuda, size: int, allocate: str, release: str) -> None:
        super().__init__(cuda, cuda.call(allocate, max(size, 1)), release)
        self.size = size

    @property
    def address(self) -> int:
        """Its first byte's address."""
        return int(self.handle)


class DeviceBuffer(_Buffer):
    """Memory of the GPU, aligned to 256 bytes."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        super().__init__(cuda, size, "cudaMalloc", "cudaFree")


class PinnedBuffer(_Buffer):
    """Page-locked memory of the host, so that copies are asynchronous and run at the bus's full speed.

    Attributes:
        bytes: its contents, uint8 [size]; empty after ``close()``, and views of it are then invalid.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        super().__init__(cuda, size, "cudaMallocHost", "cudaFreeHost")
        memory: Any = (ctypes.c_ubyte * size).from_address(self.address)
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)

    def close(self) -> None:
        """Free it, once."""
        self.bytes = np.empty(0, np.uint8)
        super().close()


class Graph(_Resource):
    """Work of a stream recorded once, to be launched as a whole.

    Args:
        work: puts its work on the stream, which is recorded; it must not allocate or wait.

    Raises:
        CudaFailure: something in it cannot be recorded.
    """

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        recorded = _record(cuda, stream, work)
        try:
            super().__init__(cuda, cuda.call("cudaGraphInstantiate", recorded, 0), "cudaGraphExecDestroy")
        finally:
            with suppress(CudaFailure):
                cuda.call("cudaGraphDestroy", recorded)

    def launch(self, stream: Stream) -> None:
        """Put the recorded work on a stream."""
        self._cuda.call("cudaGraphLaunch", self.handle, stream.handle)


def _record(cuda: Cuda, stream: Stream, work: Callable[[], None]) -> Any:
    # Only this thread's calls count: others may allocate meanwhile.
    mode = cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    cuda.call("cudaStreamBeginCapture", stream.handle, mode)
    try:
        work()
    except BaseException:
        _abandon(cuda, stream)
        raise
    return cuda.call("cudaStreamEndCapture", stream.handle)


def _abandon(cuda: Cuda, stream: Stream) -> None:
    """End a recording and discard it, so that the stream works again."""
    with suppress(CudaFailure):
        recorded = cuda.call("cudaStreamEndCapture", stream.handle)
        if int(recorded) != 0:
            cuda.call("cudaGraphDestroy", recorded)


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise EnvironmentMissing(f"the package cuda-bindings is not installed; {_INSTALL}") from None
