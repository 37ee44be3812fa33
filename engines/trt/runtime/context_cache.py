"""For each shape of input that an engine runs: an execution context made ready for it, and its CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from pssdet.engines.trt.runtime.buffers import BufferSet, lay_out
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Graph, Stream
from pssdet.engines.trt.runtime.engine import LoadedEngine, as_shape
from pssdet.engines.trt.shapes import InputShapes, Shape, choose_profile
from pssdet.errors import BadInput, EnvironmentMissing

_Key = tuple[tuple[str, Shape], ...]


class EngineFailure(EnvironmentMissing):
    """A call of TensorRT failed."""


class ShapeContext:
    """An execution context whose input shapes are set, the layouts of its tensors, and its work recorded as graphs.

    A graph refers to a context's state of that shape and to the addresses of one set of buffers. So a
    context keeps its shape as long as it has graphs, and there is a graph for each set of buffers.

    Attributes:
        context: TensorRT's ``IExecutionContext``.
        warm: the context was run since its shapes were set, which TensorRT asks for before recording.
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
            raise EngineFailure(f"TensorRT still wants to know the shapes of {', '.join(lacking)}")
        outputs = {tensor.name: as_shape(context.get_tensor_shape(tensor.name)) for tensor in engine.outputs}
        for name, shape in outputs.items():
            if min(shape, default=0) < 0:
                raise BadInput(
                    f"the shape of output {name} depends on the picture; an exported model's does not: build it again"
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
    """The shapes used last, each with a context of its own where TensorRT allows it.

    Before 10.0 only engines built for it have several contexts on a profile. Where there can be only one, it
    goes from shape to shape, and graphs live as long as the shape stays.

    All contexts compute in the same memory, one after the other, on one stream.

    Args:
        graphs: record a shape's work from its second run on.
        capacity: most shapes to keep.
    """

    def __init__(self, cuda: Cuda, engine: LoadedEngine, stream: Stream, *, graphs: bool, capacity: int) -> None:
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
        """Record the work as a graph; where that fails, keep the reason and enqueue every run from now on."""
        try:
            entry.graphs[buffers.number] = Graph(self._cuda, self._stream, lambda: self._enqueue(entry, buffers))
        except (CudaFailure, EngineFailure) as error:
            self.fallback = f"the engine's work cannot be recorded as a CUDA graph: {error}"

    def _context(self, profile: int) -> Any:
        """A context on that profile without shapes: a new one or, if there can be only one, that of another shape."""
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
