"""TensorRT on this machine's GPU: builds, sessions, times without copies, times of layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.gpu.bundle import Tensors
from benchmarks.gpu.cuda_device import times_us
from benchmarks.gpu.host import BuildRequest, Session
from pssdet.engines.devices import gpu
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import capabilities_of
from pssdet.engines.trt.plan.inspector import prove, read_layers, summarise
from pssdet.engines.trt.plugin_library import find_plugins, load_plugins
from pssdet.engines.trt.runtime.buffers import BufferSet
from pssdet.engines.trt.runtime.cuda import Cuda, Stream
from pssdet.engines.trt.runtime.engine import ContextCache, LoadedEngine
from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.files import sha256_of


class TensorRTHost:
    """A ``Host`` with TensorRT. Timing caches stay in the folder ``caches``, one for each TensorRT and GPU.

    Raises:
        EnvironmentMissing: there is no GPU, no TensorRT, no cuda-bindings or no plugin library.
    """

    def __init__(self, caches: Path) -> None:
        device = gpu()
        if device is None:
            raise EnvironmentMissing("there is no NVIDIA GPU with a driver; run this on a machine with one")
        try:
            import tensorrt
        except ImportError as error:
            raise EnvironmentMissing(f"TensorRT cannot be imported ({error}); see docs/tensorrt.md") from error
        self._trt = tensorrt
        self._device = device
        self._cuda = Cuda()
        self._plugins = find_plugins()
        load_plugins(tensorrt, self._plugins)
        self._caches = caches
        self.name = device.name

    def identity(self) -> dict[str, str]:
        """What must be equal for results to belong together."""
        return {"tensorrt": str(self._trt.__version__), "plugins": sha256_of(self._plugins)}

    def describe(self) -> dict[str, str]:
        """What a reader must know of it to judge a time."""
        return {
            "GPU": self.name,
            "compute capability": ".".join(map(str, self._device.capability)),
            "CUDA of the driver": self._device.cuda,
            "TensorRT": str(self._trt.__version__),
            "free GPU memory": f"{self._free() / 2**30:.1f} GiB",
            "plugin library": f"{self._plugins.name}, sha256 {sha256_of(self._plugins)}",
        }

    def check(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        self._cuda.call("cudaDeviceSynchronize")
        self._free()

    def build(self, request: BuildRequest, plan: Path) -> dict[str, Any]:
        """Write the plan, as the backend ``tensorrt`` does; half precision must be proved."""
        from pssdet.engines.trt.graph.rewrite import plugin_graph
        from pssdet.engines.trt.plan.builder import build_plan, timing_cache_name
        from pssdet.engines.trt.plan.capabilities import choose_route, graph_for
        from pssdet.engines.trt.plan.inspector import convolution_flops
        from pssdet.engines.trt.profiles import Profile

        started = perf_counter()
        reduced = request.precision != "fp32"
        route = choose_route(capabilities_of(self._trt), reduced=reduced, typed=False)
        graph, float32 = graph_for(plugin_graph(request.model), route, request.fp32, reduced=reduced)
        profiles = tuple(Profile(*shapes) for shapes in request.profiles)
        cache = self._caches / timing_cache_name(str(self._trt.__version__), self.name)
        # A host without network may have mere stand-ins for cuBLAS and cuDNN, which load and cannot compute.
        settings = BuildSettings(
            profiles, route, float32=float32, plugins=self._plugins, timing_cache=cache, external_kernels=False
        )
        layers = build_plan(graph, plan, settings)
        seconds = perf_counter() - started
        precisions = summarise(layers, convolution_flops(request.model, profiles[0].opt))
        if request.precision == "fp16":
            prove(precisions, request.precision)
        found = {"layers": precisions.layers, "share": precisions.share("fp16"), "wide": list(precisions.wide)}
        return {"seconds": round(seconds, 2), "route": route, "kept_fp32": len(request.fp32), "precisions": found}

    @contextmanager
    def session(self, plan: Path, *, graphs: bool) -> Iterator[Session]:
        """The plan opened as users open it."""
        with TensorRTSession(plan, plugins=self._plugins, cuda_graphs=graphs) as session:
            yield session

    @contextmanager
    def resident(self, plan: Path, inputs: Tensors, *, graphs: bool) -> Iterator[ResidentBatch]:
        """The plan opened for one batch that stays in the GPU's memory."""
        with closing(ResidentBatch(self._cuda, plan, self._plugins, inputs, graphs=graphs)) as resident:
            yield resident

    def _free(self) -> int:
        return int(self._cuda.call("cudaMemGetInfo"))


class ResidentBatch:
    """A ``Resident`` engine: the session's own contexts, buffers and graphs, without its copies."""

    def __init__(self, cuda: Cuda, plan: Path, plugins: Path, inputs: Tensors, *, graphs: bool) -> None:
        self._cuda = cuda
        before = int(cuda.call("cudaMemGetInfo"))
        with ExitStack() as held:
            self._engine = held.enter_context(closing(LoadedEngine(plan, plugins, host_code=False)))
            self._stream = held.enter_context(closing(Stream(cuda)))
            self._buffers = held.enter_context(closing(BufferSet(cuda, 0)))
            contexts = ContextCache(cuda, self._engine, self._stream, graphs=graphs, capacity=1)
            self._contexts = held.enter_context(closing(contexts))
            arrays = {tensor.name: inputs[tensor.name] for tensor in self._engine.inputs}
            self._context = self._contexts.get({name: array.shape for name, array in arrays.items()})
            self._upload(arrays)
            self._compute()
            self._stream.synchronize()
            self._held = held.pop_all()
        self._taken = before - int(cuda.call("cudaMemGetInfo"))

    def times_us(self, iterations: int) -> list[float]:
        """Microseconds between two events around each run.

        Raises:
            EnvironmentMissing: a graph was asked for and could not be recorded.
        """
        self._compute()
        if self._contexts.fallback is not None:
            raise EnvironmentMissing(self._contexts.fallback)
        return times_us(self._cuda, self._stream, self._compute, iterations)

    def layers_us(self, iterations: int) -> dict[str, float]:
        """Microseconds of each layer, by its name and the ONNX nodes that it was made of."""
        recorder = _recorder(self._engine.tensorrt)
        context = self._context.context
        context.profiler = recorder
        for _ in range(iterations):
            self._compute()
            self._stream.synchronize()
        nodes = self._nodes()
        return {
            f"{name} {nodes.get(name, '')}".strip(): 1e3 * time / iterations for name, time in recorder.times_ms.items()
        }

    def memory(self) -> dict[str, int]:
        """Bytes of the context's scratch memory, and taken on the GPU by opening the engine with this batch."""
        return {"scratch": self._engine.scratch_size, "device": self._taken}

    def close(self) -> None:
        """Free everything."""
        self._stream.synchronize()
        self._held.close()

    def _compute(self) -> None:
        self._contexts.compute(self._context, self._buffers)

    def _upload(self, arrays: Tensors) -> None:
        sent, received = self._buffers.inputs, self._buffers.outputs
        sent.grow(self._context.inputs.size)
        received.grow(self._context.outputs.size)
        for name, slot in self._context.inputs.slots.items():
            np.copyto(slot.view(sent.host.bytes), arrays[name])
        self._cuda.copy_to_device(sent.device, sent.host, self._context.inputs.size, self._stream)

    def _nodes(self) -> dict[str, str]:
        """Each layer's ONNX nodes, where the engine's inspector tells them."""
        inspector = self._engine.engine.create_engine_inspector()
        try:
            layers = read_layers(inspector.get_engine_information(self._engine.tensorrt.LayerInformationFormat.JSON))
        except GateFailed:
            return {}
        return {str(layer.get("Name", "")): str(layer.get("Metadata", "")) for layer in layers}


def _recorder(trt: Any) -> Any:
    class Recorder(trt.IProfiler):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times_ms: defaultdict[str, float] = defaultdict(float)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Called by TensorRT for each layer of each run."""
            self.times_ms[layer_name] += ms

    return Recorder()
