"""For each shape of input that an engine runs: an execution context made ready for it, and its CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from pssdet.engines.trt.runtime.buffers import BufferSet, lay_out
from pssdet.engines.trt.runtime.cuda import Cuda, CudaFailure, DeviceBuffer, Graph, Stream
from pssdet.engines.trt.runtime.engine import Plan, as_shape
from pssdet.engines.trt.runtime.profile_selection import Shapes, choose_profile
from pssdet.errors import BadInput, EnvironmentMissing


class EngineFailure(EnvironmentMissing):
    """TensorRT did not do what it was asked for."""


class ShapeRun:
    """A context whose input shapes are set, the places of its tensors, and its work recorded as graphs.

    A graph refers to a context's state of that shape and to the addresses of one set of buffers. So a
    context keeps its shape as long as it has graphs, and there is a graph for each set of buffers.

    Attributes:
        warm: the context was run since its shapes were set, which TensorRT asks for before recording.
        graphs: by number of the set of buffers.
    """

    def __init__(self, plan: Plan, context: Any, profile: int, shapes: Shapes) -> None:
        self.context = context
        self.profile = profile
        self.warm = False
        self.graphs: dict[int, Graph] = {}
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineFailure(f"TensorRT refused {name} {list(shape)}: {plan.complaint()}")
        if lacking := context.infer_shapes():
            raise EngineFailure(f"TensorRT still wants to know the shapes of {', '.join(lacking)}")
        outputs = {tensor.name: as_shape(context.get_tensor_shape(tensor.name)) for tensor in plan.outputs}
        for name, shape in outputs.items():
            if min(shape, default=0) < 0:
                raise BadInput(
                    f"the shape of output {name} depends on the picture; an exported model's does not: build it again"
                )
        self.inputs = lay_out(plan.inputs, shapes)
        self.outputs = lay_out(plan.outputs, outputs)

    def forget_graph(self, buffers: int) -> None:
        """Drop the graph of one set of buffers, if there is one."""
        if (graph := self.graphs.pop(buffers, None)) is not None:
            graph.close()

    def close(self) -> None:
        """Drop the graphs."""
        for number in list(self.graphs):
            self.forget_graph(number)


class ShapeRuns:
    """The shapes used last, each with a context of its own where TensorRT allows it.

    Before 10.0 only engines built for it have several contexts on a profile. Where there is one alone, it
    goes from shape to shape, and graphs live as long as the shape stays.

    All contexts compute in the same memory, one after the other, on one stream.

    Args:
        graphs: record a shape's work from its second run on.
        kept: most shapes to keep.
    """

    def __init__(self, cuda: Cuda, plan: Plan, stream: Stream, *, graphs: bool, kept: int) -> None:
        self._cuda = cuda
        self._plan = plan
        self._stream = stream
        self._graphs = graphs
        self._kept = kept
        self._runs: OrderedDict[tuple[tuple[str, tuple[int, ...]], ...], ShapeRun] = OrderedDict()
        self._alone = False
        #: Why work is not recorded although it was wanted; None as long as it is.
        self.fallback: str | None = None
        self._scratch = DeviceBuffer(cuda, plan.scratch_size)

    def of(self, shapes: Shapes) -> ShapeRun:
        """The run of these shapes, made ready if it is new.

        Raises:
            BadInput: the engine takes no such shapes.
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        key = tuple((tensor.name, shapes[tensor.name]) for tensor in self._plan.inputs)
        if (known := self._runs.get(key)) is not None:
            self._runs.move_to_end(key)
            return known
        profile = choose_profile(self._plan.profiles, shapes)
        run = ShapeRun(self._plan, self._context(profile), profile, shapes)
        self._runs[key] = run
        return run

    def compute(self, run: ShapeRun, buffers: BufferSet) -> None:
        """Put a run's work on the stream, reading and writing these buffers.

        Raises:
            EnvironmentMissing: TensorRT or CUDA fails.
        """
        if self._graphs and self.fallback is None and run.warm and buffers.number not in run.graphs:
            self._record(run, buffers)
        if buffers.number in run.graphs:
            run.graphs[buffers.number].launch(self._stream)
            return
        self._enqueue(run, buffers)
        run.warm = True

    def forget_graphs(self, buffers: int) -> None:
        """Drop what refers to a set of buffers, because its memory moves."""
        for run in self._runs.values():
            run.forget_graph(buffers)

    def close(self) -> None:
        """Free every context and graph; their work must be done."""
        while self._runs:
            self._runs.popitem()[1].close()
        self._scratch.close()

    def _enqueue(self, run: ShapeRun, buffers: BufferSet) -> None:
        for layout, staging in ((run.inputs, buffers.inputs), (run.outputs, buffers.outputs)):
            for name, place in layout.places.items():
                if not run.context.set_tensor_address(name, staging.device.address + place.offset):
                    raise EngineFailure(f"TensorRT refused the address of {name}: {self._plan.complaint()}")
        if not run.context.execute_async_v3(int(self._stream.handle)):
            raise EngineFailure(f"TensorRT could not run the engine: {self._plan.complaint()}")

    def _record(self, run: ShapeRun, buffers: BufferSet) -> None:
        """Record a run, or say why that cannot be done; then every run is enqueued."""
        try:
            run.graphs[buffers.number] = Graph(self._cuda, self._stream, lambda: self._enqueue(run, buffers))
        except (CudaFailure, EngineFailure) as error:
            self.fallback = f"the engine's work cannot be recorded as a CUDA graph: {error}"

    def _context(self, profile: int) -> Any:
        """A context on that profile, whose shapes are not set: a new one, or the only one that there may be."""
        while len(self._runs) >= self._kept:
            self._retire(next(iter(self._runs)))
        holder = next((key for key, run in self._runs.items() if run.profile == profile), None)
        if holder is None or not self._alone:
            context = self._plan.new_context(self._scratch.address)
            if context is not None and self._select(context, profile):
                return context
            complaint = self._plan.complaint()
            if holder is None:
                raise EngineFailure(f"TensorRT gave no context for optimisation profile {profile}: {complaint}")
            self._alone = True
        return self._retire(holder)

    def _select(self, context: Any, profile: int) -> bool:
        if context.active_optimization_profile == profile:
            return True
        return bool(context.set_optimization_profile_async(profile, int(self._stream.handle)))

    def _retire(self, key: Any) -> Any:
        """Forget a shape; what remains is its context."""
        run = self._runs.pop(key)
        # Its work may be on its way, and what comes next changes or frees the context.
        self._stream.synchronize()
        run.close()
        return run.context
