"""TensorRT on this machine's GPU: builds, sessions, times without copies, times of layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.bundle import Tensors
from benchmarks.gpu.cuda_device import BareDevice, times_us
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import capabilities_of
from pssdet.engines.trt.plan.inspector import prove, read_layers, summarise
from pssdet.engines.trt.plan.read_back import read_back
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.engines.trt.profiles import Profile
from pssdet.engines.trt.runtime.buffers import BufferSet, Uploader
from pssdet.engines.trt.runtime.cuda import Cuda, Stream
from pssdet.engines.trt.runtime.engine import ContextCache, LoadedEngine
from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.files import sha256_of
from pssdet.plugins.bindings.libraries import find_plugins

if TYPE_CHECKING:
    import onnx


class TensorRTHost:
    """A GPU host; ``EnvironmentMissing`` without a GPU, TensorRT, cuda-bindings or the plugin library."""

    def __init__(self, caches: Path) -> None:
        self._device = BareDevice()
        self.name = self._device.name
        try:
            import tensorrt
        except ImportError as error:
            raise EnvironmentMissing(f"TensorRT cannot be imported ({error}); see docs/tensorrt.md") from error
        self._trt = tensorrt
        self._cuda = Cuda()
        self._plugins = find_plugins()
        load_plugins(tensorrt, self._plugins)
        self._caches = caches  # folder of a timing cache for each TensorRT and GPU

    def identity(self) -> dict[str, str]:
        """What must be equal for results to belong together."""
        return {"tensorrt": str(self._trt.__version__), "plugins": sha256_of(self._plugins)}

    def describe(self) -> dict[str, str]:
        """What a reader must know of it to judge a time."""
        return {
            **self._device.describe(),
            "TensorRT": str(self._trt.__version__),
            "free GPU memory": f"{_free(self._cuda) / 2**30:.1f} GiB",
            "plugin library": f"{self._plugins.name}, sha256 {sha256_of(self._plugins)}",
        }

    def check(self) -> None:
        """Wait for all work; an error of any of it is raised here."""
        self._device.synchronize()
        _free(self._cuda)

    def build(
        self, model: onnx.ModelProto, plan: Path, profiles: tuple[Profile, ...], fp32: Sequence[str] | None
    ) -> dict[str, Any]:
        """Write the plan of an exported model as the backend ``tensorrt`` does; half precision must be proved.

        Args:
            profiles: Layers are inspected with the first.
            fp32: ONNX nodes that half precision leaves in float32; None: the whole engine is in float32.
        """
        from pssdet.engines.precision.operations import convolution_flops
        from pssdet.engines.trt.graph.rewrite import plugin_graph
        from pssdet.engines.trt.plan.builder import build_plan, timing_cache_name
        from pssdet.engines.trt.plan.capabilities import choose_route, graph_for

        started = perf_counter()
        reduced, kept = fp32 is not None, fp32 or ()
        route = choose_route(capabilities_of(self._trt), reduced=reduced)
        graph, float32 = graph_for(plugin_graph(model), route, kept, reduced=reduced)
        cache = self._caches / timing_cache_name(str(self._trt.__version__), self.name)
        # A host may have mere stand-ins for cuBLAS and cuDNN, which load and cannot compute.
        settings = BuildSettings(
            profiles, route, float32=float32, plugins=self._plugins, timing_cache=cache, external_kernels=False
        )
        built = build_plan(graph, plan, settings)
        seconds = perf_counter() - started
        precisions = summarise(built.layers, convolution_flops(model, profiles[0].opt))
        if reduced:
            prove(precisions, "fp16")
            read_back(built.layers, built.held).prove()
        found = {"layers": precisions.layers, "share": precisions.share("fp16"), "wide": list(precisions.wide)}
        return {"seconds": round(seconds, 2), "route": route, "kept_fp32": len(kept), "precisions": found}

    def session(self, plan: Path, *, graphs: bool) -> TensorRTSession:
        """The plan opened as users open it."""
        return TensorRTSession(plan, plugins=self._plugins, cuda_graphs=graphs)

    def resident(self, plan: Path, inputs: Tensors, *, graphs: bool) -> closing[ResidentBatch]:
        """The plan opened for one batch that stays in the GPU's memory."""
        return closing(ResidentBatch(self._cuda, plan, self._plugins, inputs, graphs=graphs))


class ResidentBatch:
    """An engine with a batch in the GPU's memory: the session's parts, without its copies."""

    def __init__(self, cuda: Cuda, plan: Path, plugins: Path, inputs: Tensors, *, graphs: bool) -> None:
        self._cuda = cuda
        before = _free(cuda)
        with ExitStack() as held:
            self._engine = held.enter_context(closing(LoadedEngine(plan, plugins, host_code=False)))
            self._stream = held.enter_context(closing(Stream(cuda)))
            self._buffers = held.enter_context(closing(BufferSet(cuda, 0)))
            contexts = ContextCache(cuda, self._engine, self._stream, graphs=graphs, capacity=1)
            self._contexts = held.enter_context(closing(contexts))
            arrays = {tensor.name: inputs[tensor.name] for tensor in self._engine.inputs}
            self._context = self._contexts.get({name: array.shape for name, array in arrays.items()})
            self._buffers.inputs.grow(self._context.inputs.size)
            self._buffers.outputs.grow(self._context.outputs.size)
            Uploader(cuda, self._stream, None).upload(self._context.inputs, self._buffers, arrays)
            self._compute()
            self._stream.synchronize()
            self._held = held.pop_all()
        self._taken = before - _free(cuda)

    def times_us(self, iterations: int) -> list[float]:
        """Microseconds of each run, warmed up first; ``EnvironmentMissing`` if no graph could be recorded."""
        self._compute()
        if self._contexts.fallback is not None:
            raise EnvironmentMissing(self._contexts.fallback)
        return times_us(self._cuda, self._stream, self._compute, iterations)

    def layers_us(self, iterations: int) -> dict[str, float]:
        """Mean microseconds of each layer, by its name and the ONNX nodes that it was made of."""
        recorder = _recorder(self._engine.tensorrt)
        self._context.context.profiler = recorder
        for _ in range(iterations):
            self._compute()
            self._stream.synchronize()
        nodes = self._nodes()
        times = recorder.times_ms.items()
        return {f"{name} {nodes.get(name, '')}".strip(): 1e3 * time / iterations for name, time in times}

    def memory(self) -> dict[str, int]:
        """Bytes: ``scratch`` of a context, ``device`` taken by opening the engine with this batch."""
        return {"scratch": self._engine.scratch_size, "device": self._taken}

    def close(self) -> None:
        """Free everything."""
        self._stream.synchronize()
        self._held.close()

    def _compute(self) -> None:
        self._contexts.compute(self._context, self._buffers)

    def _nodes(self) -> dict[str, str]:
        inspector = self._engine.engine.create_engine_inspector()
        try:
            layers = read_layers(
                inspector.get_engine_information(self._engine.tensorrt.LayerInformationFormat.JSON)
            )
        except GateFailed:
            return {}
        return {str(layer.get("Name", "")): str(layer.get("Metadata", "")) for layer in layers}


def _free(cuda: Cuda) -> int:
    return int(cuda.call("cudaMemGetInfo"))


def _recorder(trt: Any) -> Any:
    class Recorder(trt.IProfiler):  # type: ignore[misc]  # a class of whatever TensorRT is installed
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times_ms: defaultdict[str, float] = defaultdict(float)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Called by TensorRT for each layer of each run."""
            self.times_ms[layer_name] += ms

    return Recorder()
