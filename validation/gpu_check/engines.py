"""Engines of bundles and of single layers: built as the product builds them, and timed without copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pssdet.engines.trt.plan.builder import BuildSettings, BuiltPlan, build_plan, timing_cache_name
from pssdet.engines.trt.plan.capabilities import capabilities_of, choose_route, graph_for
from pssdet.engines.trt.plan.inspector import read_layers
from pssdet.engines.trt.profiles import Profile, ShapeRange
from pssdet.engines.trt.runtime.buffers import BufferSet, Uploader
from pssdet.engines.trt.runtime.cuda import Cuda, Stream
from pssdet.engines.trt.runtime.engine import ContextCache, LoadedEngine
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.validation.gpu_check.detection_cases import Tensors
from pssdet.validation.gpu_check.device import BareDevice, times_us

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class LayerProfile(Profile):
    """A profile of a graph whose inputs are not a detector's; its sizes are of no use then."""

    ranges: Mapping[str, ShapeRange] = field(default_factory=dict)

    def range_of(self, tensor: str) -> ShapeRange:
        """The shapes of an input."""
        return self.ranges[tensor]


@dataclass(frozen=True)
class Built:
    """What a build gave: how long it took, the way to the precision, the layers and what is held to float32."""

    seconds: float
    route: str
    plan: BuiltPlan


def build(
    model: onnx.ModelProto,
    plan: Path,
    profiles: tuple[Profile, ...],
    *,
    fp32: Sequence[str] | None,
    plugins: Path | None,
    typed: bool = False,
    stages: tuple[str, ...] = (),
) -> Built:
    """Write the plan of an exported model as the backend ``tensorrt`` does.

    Args:
        profiles: Layers are inspected with the first.
        fp32: ONNX nodes that half precision leaves in float32; None: the whole engine is in float32.
        typed: the graph says the types, where this TensorRT can do that.
        stages: tensors that the engine returns beside its outputs.
    """
    import tensorrt as trt

    from pssdet.engines.trt.graph.rewrite import plugin_graph

    name = BareDevice().name  # without a device, TensorRT would crash the process
    abilities = capabilities_of(trt)
    possible = abilities.typed_flag or abilities.always_typed
    started = perf_counter()
    route = choose_route(abilities, reduced=fp32 is not None, typed=(typed and possible) or None)
    graph, float32 = graph_for(plugin_graph(model), route, fp32 or (), reduced=fp32 is not None)
    cache = plan.parent / timing_cache_name(str(trt.__version__), name)
    # A host may have mere stand-ins for cuBLAS and cuDNN, which load and cannot compute.
    settings = BuildSettings(
        profiles,
        route,
        float32=float32,
        stages=stages,
        plugins=plugins,
        timing_cache=cache,
        external_kernels=False,
    )
    built = build_plan(graph, plan, settings)
    return Built(round(perf_counter() - started, 2), route, built)


class ResidentBatch:
    """An engine with a batch in the GPU's memory: the session's parts, without its copies."""

    def __init__(self, cuda: Cuda, plan: Path, plugins: Path | None, inputs: Tensors, *, graphs: bool) -> None:
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
