"""A deserialised TensorRT engine, and a context with CUDA graphs for each shape that it runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.engines.trt.profiles import InputShapes, Shape, ShapeRange, choose_profile
from pssdet.engines.trt.runtime.buffers import BufferSet, TensorSpec, lay_out
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Graph, Stream
from pssdet.errors import BadInput, EnvironmentMissing

_INSTALL = "see the table of TensorRT versions in docs/tensorrt.md"


class LoadedEngine:
    """A deserialised engine; the driver must have answered, or TensorRT crashes the process.

    Inputs are float32, outputs float32 or int32; stages in reduced precision are float16.

    Args:
        path: the serialised engine, whose hash was verified: TensorRT trusts what it reads.
        plugins: library of the plugins it uses; None if it uses none or carries them.
        host_code: run code that the plan carries: plugins or a runtime.

    Raises:
        BadInput: TensorRT does not take the plan, or a tensor has an unknown type.
        EnvironmentMissing: TensorRT or the plugins cannot be loaded.
    """

    def __init__(self, path: Path, plugins: Path | None, *, host_code: bool) -> None:
        self.tensorrt = _tensorrt()
        if plugins is not None:
            load_plugins(self.tensorrt, plugins)
        self._logger = error_log(self.tensorrt)
        self._runtime: Any = self.tensorrt.Runtime(self._logger)
        if host_code and hasattr(self._runtime, "engine_host_code_allowed"):
            self._runtime.engine_host_code_allowed = True
        self.engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            version = self.tensorrt.__version__
            raise BadInput(
                f"TensorRT {version} does not take {path}: {self.last_errors()}; build the engine again here"
            )
        self.inputs, self.outputs = self._tensors()
        self.profiles = [
            {tensor.name: self._range(tensor, number) for tensor in self.inputs}
            for number in range(self.engine.num_optimization_profiles)
        ]

    @property
    def scratch_size(self) -> int:
        """Bytes of scratch memory that a context needs, the most over all profiles."""
        for name in ("device_memory_size_v2", "device_memory_size"):
            if hasattr(self.engine, name):
                return int(getattr(self.engine, name))
        raise EnvironmentMissing(
            f"TensorRT {self.tensorrt.__version__} does not say how much memory an engine needs"
        )

    def new_context(self, scratch: int) -> Any:
        """An execution context that computes in ``scratch``; None if TensorRT allows no more."""
        # The strategies exist from TensorRT 10 on.
        strategies = getattr(self.tensorrt, "ExecutionContextAllocationStrategy", None)
        if strategies is not None:
            context = self.engine.create_execution_context(strategies.USER_MANAGED)
        else:
            context = self.engine.create_execution_context_without_device_memory()
        if context is not None and self.scratch_size:
            if hasattr(context, "set_device_memory"):
                context.set_device_memory(scratch, self.scratch_size)
            else:
                context.device_memory = scratch
        return context

    def last_errors(self) -> str:
        """The latest errors that TensorRT logged, in one line; each is given once."""
        errors: str = self._logger.last_errors()
        return errors

    def close(self) -> None:
        """Free the engine; its contexts must be gone."""
        self.engine = None
        self._runtime = None

    def _tensors(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            is_input = self.engine.get_tensor_mode(name) == self.tensorrt.TensorIOMode.INPUT
            kind = self.engine.get_tensor_dtype(name)
            (inputs if is_input else outputs).append(
                TensorSpec(
                    name,
                    as_shape(self.engine.get_tensor_shape(name)),
                    self._dtype(name, kind, is_input=is_input),
                )
            )
        return tuple(inputs), tuple(outputs)

    def _dtype(self, name: str, kind: Any, *, is_input: bool) -> np.dtype[Any]:
        known: dict[str, type[np.generic]] = {"FLOAT": np.float32}
        if not is_input:
            known |= {"HALF": np.float16, "INT32": np.int32}
        for name_of_type, dtype in known.items():
            if kind == getattr(self.tensorrt.DataType, name_of_type):
                return np.dtype(dtype)
        raise BadInput(
            f"{'input' if is_input else 'output'} {name} of the engine is {kind}, where our models have"
            f" {' or '.join(known)} there; build the engine again with engines/build.py"
        )

    def _range(self, tensor: TensorSpec, profile: int) -> ShapeRange:
        if -1 not in tensor.shape:
            return ShapeRange(tensor.shape, tensor.shape, tensor.shape)
        return ShapeRange(*map(as_shape, self.engine.get_tensor_profile_shape(tensor.name, profile)))


def check_outputs(engine: LoadedEngine, expected: Mapping[str, str]) -> None:
    """Raise ``BadInput`` unless the engine has the outputs of its card, dtype by name; it may have more."""
    present = {tensor.name: tensor.dtype.name for tensor in engine.outputs}
    flaws = [
        f"output {name} is {present.get(name, 'missing')} instead of {dtype}"
        for name, dtype in expected.items()
        if present.get(name) != dtype
    ]
    if flaws:
        raise BadInput(f"the engine is not what its card says: {', '.join(flaws)}; build it again")


def as_shape(dims: Any) -> Shape:
    """TensorRT's dimensions as a tuple of numbers."""
    return tuple(int(size) for size in dims)


def _tensorrt() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise EnvironmentMissing(f"the package tensorrt cannot be imported ({error}); {_INSTALL}") from error
    return tensorrt


_Key = tuple[tuple[str, Shape], ...]


class EngineFailure(EnvironmentMissing):
    """A call of TensorRT failed."""


class ShapeContext:
    """An execution context of set input shapes, and its work recorded as CUDA graphs.

    A graph refers to a context's state of that shape and to one set of buffers. So a context keeps its
    shape as long as it has graphs, and there is a graph for each set of buffers.

    Attributes:
        warm: it ran since its shapes were set, as TensorRT asks before recording.
        graphs: by number of the set of buffers.
    """

    def __init__(self, engine: LoadedEngine, context: Any, profile: int, shapes: InputShapes) -> None:
        self.context = context
        self.profile = profile
        self.warm = False
        self.graphs: dict[int, Graph] = {}
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineFailure(f"TensorRT refused {name} {list(shape)}: {engine.last_errors()}")
        if lacking := context.infer_shapes():
            raise EngineFailure(f"TensorRT still needs the shapes of {', '.join(lacking)}")
        outputs = {tensor.name: as_shape(context.get_tensor_shape(tensor.name)) for tensor in engine.outputs}
        for name, shape in outputs.items():
            if min(shape, default=0) < 0:
                raise BadInput(
                    f"the shape of output {name} depends on the picture; an exported model's does not:"
                    " build it again"
                )
        self.inputs = lay_out(engine.inputs, shapes)
        self.outputs = lay_out(engine.outputs, outputs)

    def forget_graph(self, buffers: int) -> None:
        """Free the graph of one set of buffers, if there is one."""
        if (graph := self.graphs.pop(buffers, None)) is not None:
            graph.close()

    def close(self) -> None:
        """Free the graphs."""
        for number in list(self.graphs):
            self.forget_graph(number)


class ContextCache:
    """The ``capacity`` shapes used last, each with a context of its own where TensorRT allows it.

    Before 10.0 only engines built for it have several contexts on a profile. A single one goes from
    shape to shape, and graphs live as long as the shape stays. All share one memory and one stream.
    """

    def __init__(
        self, cuda: Cuda, engine: LoadedEngine, stream: Stream, *, graphs: bool, capacity: int
    ) -> None:
        self._cuda = cuda
        self._engine = engine
        self._stream = stream
        self._graphs = graphs
        self._capacity = capacity
        self._entries: OrderedDict[_Key, ShapeContext] = OrderedDict()
        #: TensorRT refused a second context on a profile.
        self._one_per_profile = False
        #: Why work is not recorded although that was asked for; None while it is.
        self.fallback: str | None = None
        self._scratch = DeviceBuffer(cuda, engine.scratch_size)

    def get(self, shapes: InputShapes) -> ShapeContext:
        """The context of these shapes, made ready if it is new.

        Raises:
            BadInput: the engine takes no such shapes.
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        key = tuple((tensor.name, shapes[tensor.name]) for tensor in self._engine.inputs)
        if (known := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
            return known
        profile = choose_profile(self._engine.profiles, shapes)
        entry = ShapeContext(self._engine, self._context(profile), profile, shapes)
        self._entries[key] = entry
        return entry

    def compute(self, entry: ShapeContext, buffers: BufferSet) -> None:
        """Put the work of one batch on the stream, reading and writing these buffers.

        Raises:
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        if self._graphs and self.fallback is None and entry.warm and buffers.number not in entry.graphs:
            self._record(entry, buffers)
        if buffers.number in entry.graphs:
            entry.graphs[buffers.number].launch(self._stream)
            return
        self._enqueue(entry, buffers)
        entry.warm = True

    def forget_graphs(self, buffers: int) -> None:
        """Free the graphs that refer to a set of buffers, because its memory moves."""
        for entry in self._entries.values():
            entry.forget_graph(buffers)

    def close(self) -> None:
        """Free every context and graph; their work must be done."""
        while self._entries:
            self._entries.popitem()[1].close()
        self._scratch.close()

    def _enqueue(self, entry: ShapeContext, buffers: BufferSet) -> None:
        for layout, staging in ((entry.inputs, buffers.inputs), (entry.outputs, buffers.outputs)):
            for name, slot in layout.slots.items():
                if not entry.context.set_tensor_address(name, staging.device.address + slot.offset):
                    raise EngineFailure(f"TensorRT refused the address of {name}: {self._engine.last_errors()}")
        if not entry.context.execute_async_v3(int(self._stream.handle)):
            raise EngineFailure(f"TensorRT could not run the engine: {self._engine.last_errors()}")

    def _record(self, entry: ShapeContext, buffers: BufferSet) -> None:
        """Record the work as a graph; where that fails, enqueue every run from now on."""
        try:
            entry.graphs[buffers.number] = Graph(
                self._cuda, self._stream, lambda: self._enqueue(entry, buffers)
            )
        except (CudaFailure, EngineFailure) as error:
            self.fallback = f"the engine's work cannot be recorded as a CUDA graph: {error}"

    def _context(self, profile: int) -> Any:
        """A context on that profile: a new one or, if there can be only one, that of another shape."""
        while len(self._entries) >= self._capacity:
            self._evict(next(iter(self._entries)))
        holder = next((key for key, entry in self._entries.items() if entry.profile == profile), None)
        if holder is None or not self._one_per_profile:
            context = self._engine.new_context(self._scratch.address)
            if context is not None and self._select_profile(context, profile):
                return context
            reason = self._engine.last_errors()
            if holder is None:
                raise EngineFailure(f"TensorRT gave no context for optimisation profile {profile}: {reason}")
            self._one_per_profile = True
        return self._evict(holder)

    def _select_profile(self, context: Any, profile: int) -> bool:
        if context.active_optimization_profile == profile:
            return True
        return bool(context.set_optimization_profile_async(profile, int(self._stream.handle)))

    def _evict(self, key: _Key) -> Any:
        """Remove a shape from the cache; returns its context."""
        entry = self._entries.pop(key)
        # Its work may be in flight, and what comes next changes or frees the context.
        self._stream.synchronize()
        entry.close()
        return entry.context
