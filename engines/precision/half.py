"""Half precision as a rewrite of the exported graph, real or emulated; see ``docs/precision.md``.

ONNX Runtime's CPU backend runs float16 graphs in float32 and never rounds. ``emulate_half`` therefore
keeps float32 operators and puts a cast to float16 and back on every edge of the region, which rounds
as a float16 engine with float32 accumulation does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.precision.recipe import HALF_PREFIXES, Recipe


def parameters_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def half_region(graph: onnx.GraphProto, *, emulated: bool, recipe: Recipe) -> set[str]:
    """Names of the nodes that run in half precision.

    Standard ``DeformConv`` has one type for all inputs, and its offsets must be float32, so a real
    half-precision graph leaves such nodes in float32; an emulated one rounds around them.

    Raises:
        BadInput: the recipe is not for this graph.
    """
    recipe.check(graph)
    region = {node.name for node in graph.node if node.name.startswith(HALF_PREFIXES)} - set(recipe.fp32)
    if not emulated:
        region -= {node.name for node in graph.node if node.op_type == "DeformConv"}
    return region


def emulate_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Round, in place, every edge and every parameter of the region to half precision."""
    _rewrite_region(model, region, _Rounding)


def to_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Make the region compute in float16, in place; casts stand where the precision changes."""
    _rewrite_region(model, region, _Typed)


class _Rounding:
    """Keeps everything in float32, but rounded to values that half precision has."""

    def __init__(self, graph: onnx.GraphProto, region: set[str]) -> None:
        self._rounded = {name: name for name in half_tensors(graph, region)}

    def parameter(self, tensor: onnx.TensorProto) -> None:
        tensor.CopyFrom(numpy_helper.from_array(as_half(tensor).astype(np.float32), tensor.name))

    def entering(self, name: str) -> tuple[str, list[onnx.NodeProto]]:
        if name in self._rounded:
            return self._rounded[name], []
        self._rounded[name] = f"{name}:rounded"
        return self._rounded[name], _cast_pair(name, self._rounded[name])

    def leaving(self, name: str) -> tuple[str, list[onnx.NodeProto]]:
        # The rounded tensor keeps the name, so consumers and stage names stay as they are.
        return f"{name}:exact", _cast_pair(f"{name}:exact", name)


def _cast_pair(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}:float16"
    return [cast(source, half, TensorProto.FLOAT16), cast(half, target, TensorProto.FLOAT)]


_Renamed = tuple[str, list[onnx.NodeProto]]


def _rewrite_region(model: onnx.ModelProto, region: set[str], kind: type[_Rounding | _Typed]) -> None:
    """Apply a rewrite to the nodes named in ``region``, in place.

    A rewriter changes each ``parameter`` in place, once for each use. For a tensor ``entering`` or
    ``leaving`` the region it gives the name to use inside, and the nodes between the two.
    """
    graph = model.graph
    rewriter = kind(graph, region)
    _split_shared_parameters(graph, region)
    parameters = parameters_of(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in region:
            nodes.append(node)
            continue
        for position in half_inputs(node, parameters):
            name = node.input[position]
            if name in parameters:
                rewriter.parameter(parameters[name])
            else:
                node.input[position], before = rewriter.entering(name)
                nodes += before
        nodes.append(node)
        for index in half_outputs(node):
            node.output[index], after = rewriter.leaving(node.output[index])
            nodes += after
    replace_nodes(graph, nodes)


#: Which inputs and outputs of a node are half, by their positions.
HalfPositions = Callable[[onnx.NodeProto], tuple[Sequence[int], Sequence[int]]]

#: Of the operators that have others, too: scales, offsets, masks.
_HALF_POSITIONS: dict[str, HalfPositions] = {
    "Resize": lambda _: ([0], [0]),
    "DeformConv": lambda _: ([0, 1, 3], [0]),
}


def declare_half_positions(op_type: str, positions: HalfPositions) -> None:
    """Say which inputs and outputs of an operator are half; of one not declared, all are."""
    _HALF_POSITIONS[op_type] = positions


def half_inputs(node: onnx.NodeProto, parameters: Mapping[str, onnx.TensorProto]) -> list[int]:
    """Positions of the inputs that carry half data in a region's node; shapes and indices do not."""
    candidates, _ = _half_positions(node)
    return [
        position
        for position in candidates
        if position < len(node.input)
        and (name := node.input[position])
        and (name not in parameters or parameters[name].data_type == TensorProto.FLOAT)
    ]


def half_outputs(node: onnx.NodeProto) -> Sequence[int]:
    """Positions of the outputs that are half in a region's node."""
    return _half_positions(node)[1]


def _half_positions(node: onnx.NodeProto) -> tuple[Sequence[int], Sequence[int]]:
    if positions := _HALF_POSITIONS.get(node.op_type):
        return positions(node)
    return range(len(node.input)), range(len(node.output))


def half_tensors(graph: onnx.GraphProto, region: set[str]) -> set[str]:
    """Tensors that the region's nodes make in half precision."""
    return {node.output[i] for node in graph.node if node.name in region for i in half_outputs(node)}


def is_stage(name: str) -> bool:
    """Whether a tensor is a stage or an output: only internal names have slashes."""
    return "/" not in name


def as_half(tensor: onnx.TensorProto) -> NDArray[np.float16]:
    """A parameter's values in half precision."""
    with np.errstate(over="ignore"):  # infinite beyond 65504, which the build's proof sees
        half: NDArray[np.float16] = numpy_helper.to_array(tensor).astype(np.float16)
    return half


def cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    """A node that converts ``source`` into ``target`` of that element type."""
    return helper.make_node("Cast", [source], [target], name=f"{target}:cast", to=dtype)


class GraphLinks:
    """What makes and what reads the tensors of a graph, by their names."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.parameters = parameters_of(graph)
        self.outputs = {tensor.name for tensor in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Replace the graph's nodes by these, some of which may be its own."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def prune(graph: onnx.GraphProto) -> None:
    """Remove initializers that nothing reads, in place."""
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) < len(graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)


class _Typed:
    """Makes the region compute in float16; a stage keeps its float32 name beside the half one."""

    def __init__(self, graph: onnx.GraphProto, region: set[str]) -> None:
        self._names = {name: f"{name}:half" for name in half_tensors(graph, region)}
        parameters = parameters_of(graph)
        self._wanted = {output.name for output in graph.output}
        for node in graph.node:
            halves = half_inputs(node, parameters) if node.name in region else []
            self._wanted |= {name for position, name in enumerate(node.input) if position not in halves}

    def parameter(self, tensor: onnx.TensorProto) -> None:
        if tensor.data_type == TensorProto.FLOAT:  # else it was stored already, for another node
            tensor.CopyFrom(numpy_helper.from_array(as_half(tensor), tensor.name))

    def entering(self, name: str) -> _Renamed:
        if name in self._names:
            return self._names[name], []
        self._names[name] = f"{name}:half"
        return self._names[name], [cast(name, self._names[name], TensorProto.FLOAT16)]

    def leaving(self, name: str) -> _Renamed:
        half = self._names[name]
        needed = name in self._wanted or is_stage(name)
        return half, [cast(half, name, TensorProto.FLOAT)] if needed else []


def _split_shared_parameters(graph: onnx.GraphProto, region: set[str]) -> None:
    """Copy a parameter that nodes on both sides use: each side keeps its own precision."""
    parameters = parameters_of(graph)
    positions = {node.name: half_inputs(node, parameters) for node in graph.node if node.name in region}
    halves = {node.input[i] for node in graph.node for i in positions.get(node.name, ())}
    others = {
        name
        for node in graph.node
        for position, name in enumerate(node.input)
        if position not in positions.get(node.name, ())
    }
    for name in sorted(halves & others & set(parameters)):
        copy = graph.initializer.add()
        copy.CopyFrom(parameters[name])
        copy.name = f"{name}:half"
        for node in graph.node:
            for position in positions.get(node.name, ()):
                if node.input[position] == name:
                    node.input[position] = copy.name
