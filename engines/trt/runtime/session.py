"""Runs a TensorRT engine; copies and computation overlap over two batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Lock
from typing import final

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.trt.runtime.buffers import BufferSet, InferRequest, Inputs, Outputs, Staging, Uploader
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, Stream
from pssdet.engines.trt.runtime.engine import ContextCache, LoadedEngine, ShapeContext, check_outputs
from pssdet.errors import BadInput
from pssdet.plugins.bindings.preprocess import PreprocessKernel, RawImages


@final
class TensorRTSession:
    """An engine ready to run; threads may share it.

    ``submit`` starts a batch and ``collect`` gives its outputs, so that one batch's copies run beside
    another's computation; ``run`` is both. A submission beyond ``depth`` batches waits for the oldest,
    whose outputs are kept. From its second run on a shape is recorded as a CUDA graph.

    Args:
        plan, plugins, host_code: as ``LoadedEngine`` takes them.
        graphs_kept: how many shapes of input are kept ready, with context and graphs.
        outputs: name and dtype of the outputs that the card records; None: they are not checked.
        kernel: preprocesses ``RawImages`` that are given as an input; None: all inputs are arrays.

    Raises:
        BadInput: the plan is not for this TensorRT or this GPU, or not what the card says.
        EnvironmentMissing: no GPU, driver, TensorRT, cuda-bindings or plugin library.
    """

    depth = 2
    batch = 8

    def __init__(
        self,
        plan: Path,
        *,
        plugins: Path | None,
        cuda_graphs: bool = True,
        graphs_kept: int = 8,
        host_code: bool = False,
        outputs: Mapping[str, str] | None = None,
        kernel: PreprocessKernel | None = None,
    ) -> None:
        if graphs_kept < 1:
            raise BadInput(f"{graphs_kept} shapes cannot be kept; choose 1 or more")
        self._lock = Lock()
        self._closed = False
        self._numbers = itertools.count()
        # CUDA comes first: without a device, TensorRT's Runtime would crash the process.
        self._cuda = Cuda()
        self._device: int = self._cuda.call("cudaGetDevice")
        with ExitStack() as resources:
            self._engine = resources.enter_context(closing(LoadedEngine(plan, plugins, host_code=host_code)))
            if outputs is not None:
                check_outputs(self._engine, outputs)
            self._upload, self._compute, self._download = (
                resources.enter_context(closing(Stream(self._cuda))) for _ in range(3)
            )
            self._buffers = [
                resources.enter_context(closing(BufferSet(self._cuda, each))) for each in range(self.depth)
            ]
            contexts = ContextCache(
                self._cuda, self._engine, self._compute, graphs=cuda_graphs, capacity=graphs_kept
            )
            self._contexts = resources.enter_context(closing(contexts))
            self._resources = resources.pop_all()
        self._requests: dict[int, InferRequest] = {}
        self._uploader = Uploader(self._cuda, self._upload, kernel)

    @property
    def takes_raw_images(self) -> bool:
        """Whether ``RawImages`` may be given as an input."""
        return self._uploader.kernel is not None

    @property
    def graph_fallback(self) -> str | None:
        """Why the work is not recorded as CUDA graphs although that was asked for; None if it is."""
        return self._contexts.fallback

    def run(self, inputs: Inputs) -> Outputs:
        """One batch through the engine; the arrays are the caller's own.

        Raises:
            BadInput: an input is missing, is not float32, or has a shape that no profile takes.
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Inputs) -> InferRequest:
        """Start a batch; the inputs are copied before this returns. Errors are those of ``run``."""
        with self._lock, self._cuda.on(self._device):
            self._check_open()
            arrays = self._checked(inputs)
            buffers = self._free_buffers()
            context = self._contexts.get({name: array.shape for name, array in arrays.items()})
            try:
                self._start(context, buffers, arrays)
            except BaseException:
                self._wait_for_all()
                raise
            request = InferRequest(self, next(self._numbers), buffers, context.outputs)
            self._requests[buffers.number] = request
            return request

    def collect(self, request: InferRequest) -> Outputs:
        """The outputs of a batch, in any order, once for each request; float16 stages come as float32.

        Raises:
            ValueError: the session is closed, or the request is not its own or was collected before.
            EnvironmentMissing: CUDA failed on the way.
        """
        if request.session is not self:
            raise ValueError("this batch was submitted to another session")
        self._check_open()
        with self._cuda.on(self._device):
            request.finish()
        return request.take()

    def preprocess(self, images: RawImages, *, fetch: bool = True) -> NDArray[np.float32] | None:
        """Wait for what the kernel makes of raw images, float32 [N, 3, H, W]; None without ``fetch``."""
        with self._lock, self._cuda.on(self._device):
            self._check_open()
            buffers = self._free_buffers()
            size = math.prod(images.shape) * np.dtype(np.float32).itemsize
            try:
                self._grow(buffers, buffers.inputs, size)
                self._uploader.preprocess(images, buffers, 0)
                if fetch:
                    self._cuda.copy_to_host(buffers.inputs.host, buffers.inputs.device, size, self._upload)
                self._upload.synchronize()
            except BaseException:
                self._wait_for_all()
                raise
            if not fetch:
                return None
            return buffers.inputs.host.bytes[:size].view(np.float32).reshape(images.shape).copy()

    def close(self) -> None:
        """Wait for the batches in flight and free everything; the session cannot run afterwards."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with ExitStack() as device:
                # A GPU that is lost refuses even this; the host's resources are freed all the same.
                with suppress(CudaFailure):
                    device.enter_context(self._cuda.on(self._device))
                for request in self._requests.values():
                    request.finish()
                self._requests.clear()
                self._wait_for_all()
                self._resources.close()

    def __enter__(self) -> TensorRTSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the session is closed")

    def _checked(self, inputs: Inputs) -> Inputs:
        """The inputs that the engine has, in its order; others are left out."""
        needed = [tensor.name for tensor in self._engine.inputs]
        if missing := [name for name in needed if name not in inputs]:
            raise BadInput(f"the engine needs the inputs {', '.join(needed)}; {', '.join(missing)} is missing")
        for name in needed:
            value = inputs[name]
            if isinstance(value, RawImages):
                if not self.takes_raw_images:
                    raise BadInput(
                        f"input {name} is pictures; this session was opened without the kernel for them"
                    )
            elif value.dtype != np.float32:
                raise BadInput(f"input {name} is {value.dtype}; the engine takes float32")
        return {name: inputs[name] for name in needed}

    def _free_buffers(self) -> BufferSet:
        """A set of buffers that no batch uses, after waiting for the oldest if all are in use."""
        taken = {number for number, request in self._requests.items() if not request.done}
        if len(taken) == len(self._buffers):
            oldest = min(self._requests.values(), key=lambda request: request.number)
            oldest.finish()
            taken = {number for number, request in self._requests.items() if request is not oldest}
        free = next(buffers for buffers in self._buffers if buffers.number not in taken)
        last = self._requests.pop(free.number, None)
        if last is not None and last.failed:
            self._wait_for_all()
        return free

    def _start(self, context: ShapeContext, buffers: BufferSet, inputs: Inputs) -> None:
        self._grow(buffers, buffers.inputs, context.inputs.size)
        self._grow(buffers, buffers.outputs, context.outputs.size)
        self._uploader.upload(context.inputs, buffers, inputs)
        self._upload.record(buffers.uploaded)
        self._compute.wait_for(buffers.uploaded)
        self._contexts.compute(context, buffers)
        self._compute.record(buffers.computed)
        self._download.wait_for(buffers.computed)
        staging = buffers.outputs
        self._cuda.copy_to_host(staging.host, staging.device, context.outputs.size, self._download)
        self._download.record(buffers.downloaded)

    def _grow(self, buffers: BufferSet, staging: Staging, size: int) -> None:
        """Make room in a buffer; its graphs are freed if it moves."""
        if size > staging.size:
            self._contexts.forget_graphs(buffers.number)
            staging.grow(size)

    def _wait_for_all(self) -> None:
        """Wait for all work, so that none uses what is about to be freed or filled."""
        for stream in (self._upload, self._compute, self._download):
            with suppress(CudaFailure):
                stream.synchronize()
