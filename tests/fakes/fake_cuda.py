"""The CUDA runtime without a GPU: memory, streams, events and graphs that behave as the real ones do.

What is put on a stream is done later: when somebody waits for it, or in between, at random but always in the
stream's order and after what it waits for. Whoever reads a buffer too early, reuses one too soon or forgets an
event gets wrong values here as on a GPU. Everything that is taken and not given back is in ``live``; what a GPU
would answer with a crash or with silence is in ``faults``.
"""

# ruff: noqa: N802, N803, N815

import ctypes
import random
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


@dataclass(eq=False)
class Point:
    """One recording of an event."""

    stream: object
    done: bool = False


@dataclass(eq=False)
class FakeStream:
    number: int
    device: int
    work: deque = field(default_factory=deque)
    recording: list | None = None
    recorder: int = 0
    valid: bool = True

    def __int__(self):
        return self.number


@dataclass(eq=False)
class FakeHandle:
    kind: str
    number: int
    work: tuple = ()
    point: Point | None = None

    def __int__(self):
        return self.number


class FakeCuda:
    """``cuda.bindings.runtime``; ``fail`` makes one call of a function return an error.

    Args:
        seed: of the order of work between streams; None: nothing is done before it is waited for.
    """

    cudaError_t = Error
    cudaEventDisableTiming = 2
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, seed=None, devices=1):
        self.devices = devices
        self.memory = {}
        self.streams = {}
        self.handles = {}
        self.faults = []
        self.calls = Counter()
        self.failures = {}
        self.broken = Error.cudaSuccess
        self.high_water = Counter()
        self._numbers = iter(range(1000, 10**9))
        self._random = None if seed is None else random.Random(seed)
        self._lock = threading.RLock()
        self._thread = threading.local()

    def fail(self, function, error=Error.cudaErrorMemoryAllocation, after=0):
        """The call of ``function`` after so many more returns ``error``."""
        self.failures[function] = [after, error]

    @property
    def live(self):
        """How many of each kind are held."""
        kinds = [kind for kind, _ in self.memory.values()] + [each.kind for each in self.handles.values()]
        return dict(Counter([*kinds, *("stream" for _ in self.streams)]))

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        return (
            self._counted(name, value)
            if name.startswith("cuda")
            and callable(value)
            and name[4:5].isupper()
            and (name not in ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode"))
            else value
        )

    def _counted(self, name, function):
        def call(*arguments):
            with self._lock:
                self.calls[name] += 1
                if name in self.failures:
                    self.failures[name][0] -= 1
                    if self.failures[name][0] < 0:
                        return (self.failures.pop(name)[1], None)
                if self.broken and name not in ("cudaGetErrorName", "cudaGetErrorString", "cudaGetLastError"):
                    return (self.broken, None)
                answer = function(*arguments)
                for kind, count in self.live.items() if "Malloc" in name or "Create" in name else ():
                    self.high_water[kind] = max(self.high_water[kind], count)
                self._advance()
                return answer

        return call

    # Device, errors

    def cudaGetDeviceCount(self):
        return (Error.cudaSuccess, self.devices) if self.devices else (Error.cudaErrorNoDevice, None)

    def cudaGetDevice(self):
        return Error.cudaSuccess, getattr(self._thread, "device", 0)

    def cudaSetDevice(self, device):
        self._thread.device = device
        return (Error.cudaSuccess,)

    def cudaGetErrorName(self, error):
        return Error.cudaSuccess, error.name.encode()

    def cudaGetErrorString(self, error):
        return Error.cudaSuccess, f"text of {int(error)}".encode()

    def cudaGetLastError(self):
        return (Error.cudaSuccess,)

    # Memory

    def cudaMalloc(self, size):
        return self._allocate("device memory", size)

    def cudaMallocHost(self, size):
        return self._allocate("pinned memory", size)

    def cudaFree(self, devPtr):
        return self._free("device memory", devPtr)

    def cudaFreeHost(self, ptr):
        return self._free("pinned memory", ptr)

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        kinds = ("device memory", "pinned memory") if kind == 1 else ("pinned memory", "device memory")

        def copy():
            if self.holds(dst, count, kinds[0]) and self.holds(src, count, kinds[1]):
                ctypes.memmove(dst, src, count)

        return self.enqueue(stream, copy)

    def holds(self, address, size, kind="device memory"):
        """Whether these bytes lie in memory of that kind; if not, that is a fault."""
        for start, (held, buffer) in self.memory.items():
            if held == kind and start <= address and address + size <= start + len(buffer):
                return True
        self.faults.append(f"{size} bytes at {address} are no {kind}")
        self.broken = Error.cudaErrorIllegalAddress
        return False

    def _allocate(self, kind, size):
        if self._recording_here():
            return self._invalidate(), None
        # 256 bytes more, to align to them; filled with NaN.
        buffer = (ctypes.c_ubyte * (size + 256)).from_buffer(bytearray(b"\xff" * (size + 256)))
        start = -(-ctypes.addressof(buffer) // 256) * 256
        offset = start - ctypes.addressof(buffer)
        self.memory[start] = kind, (ctypes.c_ubyte * size).from_buffer(buffer, offset)
        return Error.cudaSuccess, start

    def _free(self, kind, address):
        if self._recording_here():
            return (self._invalidate(),)
        if self.memory.get(address, ("",))[0] != kind:
            self.faults.append(f"{address} freed, which is no {kind}")
            return (Error.cudaErrorInvalidValue,)
        _, buffer = self.memory.pop(address)
        ctypes.memset(address, 0xFE, len(buffer))
        return (Error.cudaSuccess,)

    # Streams and events

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == self.cudaStreamNonBlocking
        stream = FakeStream(next(self._numbers), self.cudaGetDevice()[1])
        self.streams[stream.number] = stream
        return Error.cudaSuccess, stream

    def cudaStreamDestroy(self, stream):
        self._finish(stream)
        return (Error.cudaSuccess if self.streams.pop(int(stream), None) else self._twice(stream),)

    def cudaStreamSynchronize(self, stream):
        if self._recording_here():
            return (self._invalidate(),)
        self._finish(stream)
        return (self.broken,)

    def cudaEventCreateWithFlags(self, flags):
        assert flags == self.cudaEventDisableTiming
        return Error.cudaSuccess, self._handle("event")

    def cudaEventDestroy(self, event):
        return (self._drop(event),)

    def cudaEventRecord(self, event, stream):
        event.point = point = Point(stream)

        def reach():
            point.done = True

        return self.enqueue(stream, reach)

    def cudaEventSynchronize(self, event):
        if self._recording_here():
            return (self._invalidate(),)
        if int(event) not in self.handles:
            return (self._twice(event),)
        if event.point is not None:
            self._reach(event.point)
        return (self.broken,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        assert flags == 0
        return self.enqueue(stream, event.point) if event.point is not None else (Error.cudaSuccess,)

    def enqueue(self, stream, work):
        """Put work on a stream, or into what is being recorded."""
        stream = self.streams.get(int(stream))
        if stream is None or stream.device != self.cudaGetDevice()[1]:
            self.faults.append("work on a stream that is destroyed or of another device")
            return (Error.cudaErrorInvalidResourceHandle,)
        (stream.work if stream.recording is None else stream.recording).append(work)
        return (Error.cudaSuccess,)

    # Graphs

    def cudaStreamBeginCapture(self, stream, mode):
        assert mode == self.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        stream.recording, stream.recorder, stream.valid = [], threading.get_ident(), True
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):
        work, stream.recording = stream.recording, None
        if not stream.valid:
            return Error.cudaErrorStreamCaptureInvalidated, None
        return Error.cudaSuccess, self._handle("graph", tuple(work))

    def cudaGraphInstantiate(self, graph, flags):
        assert flags == 0
        return Error.cudaSuccess, self._handle("executable graph", graph.work)

    def cudaGraphLaunch(self, graphExec, stream):
        if int(graphExec) not in self.handles:
            return (self._twice(graphExec),)
        for work in graphExec.work:
            self.enqueue(stream, getattr(work, "replay", work))
        return (Error.cudaSuccess,)

    def cudaGraphDestroy(self, graph):
        return (self._drop(graph),)

    def cudaGraphExecDestroy(self, graphExec):
        return (self._drop(graphExec),)

    def is_recording(self, stream):
        return self.streams[int(stream)].recording is not None

    def invalidate(self):
        """Do within a recording what must not be done there."""
        self._invalidate()

    # How work gets done

    def _finish(self, stream):
        while stream.work:
            self._step(stream)

    def _reach(self, point):
        while not point.done:
            self._step(point.stream)

    def _step(self, stream):
        """The next piece of a stream's work, after what it waits for."""
        if not stream.work:
            raise AssertionError("waiting for what was never put on a stream")
        if isinstance(stream.work[0], Point):
            self._reach(stream.work[0])
            stream.work.popleft()
        else:
            stream.work.popleft()()

    def _advance(self):
        if self._random is None:
            return
        for _ in range(self._random.randrange(4)):
            stream = self._random.choice(list(self.streams.values()) or [None])
            if stream is not None and stream.work:
                blocked = isinstance(stream.work[0], Point) and not stream.work[0].done
                if not blocked:
                    self._step(stream)

    def _recording_here(self):
        return any(
            s.recording is not None and s.recorder == threading.get_ident() for s in self.streams.values()
        )

    def _invalidate(self):
        for stream in self.streams.values():
            stream.valid = stream.valid and stream.recording is None
        return Error.cudaErrorStreamCaptureUnsupported

    def _handle(self, kind, work=()):
        handle = FakeHandle(kind, next(self._numbers), work)
        self.handles[handle.number] = handle
        return handle

    def _drop(self, handle):
        return Error.cudaSuccess if self.handles.pop(int(handle), None) else self._twice(handle)

    def _twice(self, handle):
        self.faults.append(f"used or destroyed again: {getattr(handle, 'kind', 'stream')} {int(handle)}")
        return Error.cudaErrorInvalidResourceHandle
