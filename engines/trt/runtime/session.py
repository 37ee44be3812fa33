"""A TensorRT engine running: copies to the GPU, computation and copies back overlap over two batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.buffers import BufferSet, Staging
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, Stream
from pssdet.engines.trt.runtime.engine import Plan, check_outputs
from pssdet.engines.trt.runtime.infer_request import Tensors, Ticket
from pssdet.engines.trt.runtime.pictures import Pictures
from pssdet.engines.trt.runtime.shape_runs import ShapeRun, ShapeRuns
from pssdet.engines.trt.runtime.upload import Inputs, Sender
from pssdet.errors import BadInput
from pssdet.plugins.bindings.preprocess import PictureKernel


@final
class TensorRTSession:
    """An engine ready to run; threads may share it.

    ``submit`` starts a batch and ``collect`` gives its outputs, so that one batch's copies run beside
    another's computation; ``run`` is both. Whoever submits more than ``depth`` batches makes the oldest be
    finished first; its outputs wait for their ``collect``.

    The first run of a shape is enqueued as it is; from the second on it is recorded as a CUDA graph.

    Args:
        plan: the serialised engine; whoever opens it has verified its hash.
        plugins: the library of its plugins; None if the plan uses none or carries them.
        cuda_graphs: record the work of each shape.
        graphs_kept: how many shapes of input are kept ready, with context and graphs.
        host_code: run code that the plan carries: serialised plugins, or a version-compatible plan's runtime.
        outputs: name and dtype of the outputs that the card promises; None: whatever there is.
        kernel: makes ``Pictures`` given as an input into it, on the GPU; None: inputs are arrays alone.

    Raises:
        BadInput: the plan is not for this TensorRT or this GPU, or not what the card says.
        EnvironmentMissing: no GPU, driver, TensorRT, cuda-bindings or plugin library.
    """

    #: Batches that can be on their way at once.
    depth = 2

    def __init__(
        self,
        plan: Path,
        *,
        plugins: Path | None,
        cuda_graphs: bool = True,
        graphs_kept: int = 8,
        host_code: bool = False,
        outputs: Mapping[str, str] | None = None,
        kernel: PictureKernel | None = None,
    ) -> None:
        if graphs_kept < 1:
            raise BadInput(f"{graphs_kept} shapes to keep are none; choose 1 or more")
        self._lock = Lock()
        self._closed = False
        self._numbers = itertools.count()
        # The driver is asked before TensorRT is: its Runtime crashes the process where there is no device.
        self._cuda = Cuda()
        self._device: int = self._cuda.call("cudaGetDevice")
        with ExitStack() as held:
            self._plan = held.enter_context(closing(Plan(plan, plugins, host_code=host_code)))
            if outputs is not None:
                check_outputs(self._plan, outputs)
            self._upload, self._compute, self._download = (
                held.enter_context(closing(Stream(self._cuda))) for _ in range(3)
            )
            self._buffers = [held.enter_context(closing(BufferSet(self._cuda, each))) for each in range(self.depth)]
            self._runs = held.enter_context(
                closing(ShapeRuns(self._cuda, self._plan, self._compute, graphs=cuda_graphs, kept=graphs_kept))
            )
            self._held = held.pop_all()
        self._tickets: dict[int, Ticket] = {}
        self._sender = Sender(self._cuda, self._upload, kernel)

    @property
    def takes_pictures(self) -> bool:
        """Whether ``Pictures`` may be given as an input."""
        return self._sender.kernel is not None

    @property
    def graph_fallback(self) -> str | None:
        """Why the work is not recorded as CUDA graphs although that was asked for; None if it is."""
        return self._runs.fallback

    def run(self, inputs: Inputs) -> Tensors:
        """One batch through the engine; see ``engines.protocol.Session``.

        Returns:
            Arrays of the caller's own.

        Raises:
            BadInput: an input is missing, is not float32, or has a shape that no profile takes.
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Inputs) -> Ticket:
        """Start a batch; the inputs are copied before this returns. Errors are those of ``run``."""
        with self._lock, self._cuda.on(self._device):
            self._check_open()
            arrays = self._checked(inputs)
            buffers = self._free_buffers()
            run = self._runs.of({name: array.shape for name, array in arrays.items()})
            try:
                self._start(run, buffers, arrays)
            except BaseException:
                self._settle()
                raise
            ticket = Ticket(self, next(self._numbers), buffers, run.outputs)
            self._tickets[buffers.number] = ticket
            return ticket

    def collect(self, ticket: Ticket) -> Tensors:
        """The outputs of a batch, as soon as they are there; in any order, once for each ticket.

        A stage that is float16 in the engine comes as float32.

        Raises:
            ValueError: the session is closed, or the ticket is another's or was collected.
            EnvironmentMissing: CUDA failed on the way.
        """
        if ticket.session is not self:
            raise ValueError("this batch was submitted to another session")
        self._check_open()
        with self._cuda.on(self._device):
            ticket.finish()
        return ticket.take()

    def preprocess(self, pictures: Pictures, *, fetch: bool = True) -> NDArray[np.float32] | None:
        """What the kernel makes of pictures, float32 [N, 3, H, W]; it is waited for in any case.

        Args:
            fetch: bring it back; else only the time is of interest.
        """
        with self._lock, self._cuda.on(self._device):
            self._check_open()
            buffers = self._free_buffers()
            size = math.prod(pictures.shape) * np.dtype(np.float32).itemsize
            try:
                self._grow(buffers, buffers.inputs, size)
                self._sender.make(pictures, buffers, 0)
                if fetch:
                    self._cuda.copy_to_host(buffers.inputs.host, buffers.inputs.device, size, self._upload)
                self._upload.synchronize()
            except BaseException:
                self._settle()
                raise
            if not fetch:
                return None
            return buffers.inputs.host.bytes[:size].view(np.float32).reshape(pictures.shape).copy()

    def close(self) -> None:
        """Wait for what is on its way and free everything; the session cannot run afterwards."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as device:
                # A GPU that is lost refuses even this, and what is the host's is freed all the same.
                with suppress(CudaFailure):
                    device.enter_context(self._cuda.on(self._device))
                for ticket in self._tickets.values():
                    ticket.finish()
                self._tickets.clear()
                self._settle()
                self._held.close()

    def __enter__(self) -> TensorRTSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the session is closed")

    def _checked(self, inputs: Inputs) -> Inputs:
        """The engine's own inputs, in its order; what it does not use is left out."""
        needed = [tensor.name for tensor in self._plan.inputs]
        if missing := [name for name in needed if name not in inputs]:
            raise BadInput(f"the engine needs the inputs {', '.join(needed)}; {', '.join(missing)} is missing")
        for name in needed:
            value = inputs[name]
            if isinstance(value, Pictures):
                if not self.takes_pictures:
                    raise BadInput(f"input {name} is pictures; this session was opened without the kernel for them")
            elif value.dtype != np.float32:
                raise BadInput(f"input {name} is {value.dtype}; the engine takes float32")
        return {name: inputs[name] for name in needed}

    def _free_buffers(self) -> BufferSet:
        """A set of buffers that no batch is in; the oldest batch's, if need be."""
        taken = {number for number, ticket in self._tickets.items() if not ticket.done}
        if len(taken) == len(self._buffers):
            oldest = min(self._tickets.values(), key=lambda ticket: ticket.number)
            oldest.finish()
            taken = {number for number, ticket in self._tickets.items() if ticket is not oldest}
        free = next(buffers for buffers in self._buffers if buffers.number not in taken)
        last = self._tickets.pop(free.number, None)
        if last is not None and last.failed:
            self._settle()
        return free

    def _start(self, run: ShapeRun, buffers: BufferSet, inputs: Inputs) -> None:
        self._grow(buffers, buffers.inputs, run.inputs.size)
        self._grow(buffers, buffers.outputs, run.outputs.size)
        self._sender.send(run.inputs, buffers, inputs)
        self._upload.record(buffers.uploaded)
        self._compute.wait_for(buffers.uploaded)
        self._runs.compute(run, buffers)
        self._compute.record(buffers.computed)
        self._download.wait_for(buffers.computed)
        received = buffers.outputs
        self._cuda.copy_to_host(received.host, received.device, run.outputs.size, self._download)
        self._download.record(buffers.downloaded)

    def _grow(self, buffers: BufferSet, staging: Staging, size: int) -> None:
        """See to it that a buffer has room; the graphs that refer to one that moves are dropped."""
        if size > staging.size:
            self._runs.forget_graphs(buffers.number)
            staging.grow(size)

    def _settle(self) -> None:
        """Wait for all streams, so that nothing uses what is about to be freed or filled."""
        for stream in (self._upload, self._compute, self._download):
            with suppress(CudaFailure):
                stream.synchronize()
