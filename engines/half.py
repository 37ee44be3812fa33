"""Half precision as a rewrite of the exported graph, real or emulated.

The half region is the trunk and the head without the convolutions that predict DCN offsets and masks:
those, the sampling coordinates, box decoding and NMS stay in float32, where half precision would move
samples and boxes by visible fractions of a pixel.

ONNX Runtime's CPU backend runs float16 graphs in float32 and drops the casts between neighbours: it
never rounds. ``emulate_half`` therefore keeps float32 operators and puts an explicit cast to float16
and back on every edge of the region, which rounds as a float16 engine with float32 accumulation does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pssdet.models.stages import HEAD_NODES, TRUNK_NODES

#: Inputs of DeformConv that stay float32: offset and mask.
_DEFORM_OFFSET, _DEFORM_MASK = 2, 4


def half_region(graph: onnx.GraphProto, *, emulated: bool) -> set[str]:
    """Names of the nodes that run in half precision.

    Standard ``DeformConv`` has one type for all inputs, and its offsets must be float32, so a real
    half-precision graph leaves such nodes in float32; an emulated one rounds around them.
    """
    region = {node.name for node in graph.node if node.name.startswith((TRUNK_NODES, HEAD_NODES))}
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "DeformConv":
            for position in (_DEFORM_OFFSET, _DEFORM_MASK):
                region -= set(_predictor(producers, node.input[position]))
            if not emulated:
                region.discard(node.name)
    return region


def _predictor(producers: dict[str, onnx.NodeProto], name: str) -> Iterable[str]:
    """Nodes from an offset or mask back to the convolution that predicts it, included."""
    while (node := producers.get(name)) is not None:
        yield node.name
        if node.op_type == "Conv":
            return
        name = node.input[0]


def emulate_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Round, in place, every edge and every parameter of the region to half precision."""
    graph = model.graph
    _split_shared_parameters(graph, region)
    made_inside = {name for node in graph.node if node.name in region for name in node.output}
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    entering: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in region:
            nodes.append(node)
            continue
        for position in _half_inputs(node, parameters):
            name = node.input[position]
            if name in parameters:
                _round(parameters[name])
            elif name not in made_inside:
                if name not in entering:
                    entering[name] = f"{name}:rounded"
                    nodes += _cast_pair(name, entering[name])
                node.input[position] = entering[name]
        nodes.append(node)
        for index, name in enumerate(node.output):
            # The rounded tensor keeps the name, so consumers and stage names stay as they are.
            node.output[index] = f"{name}:exact"
            nodes += _cast_pair(node.output[index], name)
    _replace_nodes(graph, nodes)


def to_half(model: onnx.ModelProto, region: set[str]) -> None:
    """Make the region compute in float16, in place; casts stand where the precision changes."""
    graph = model.graph
    _split_shared_parameters(graph, region)
    half_names = {name: f"{name}:half" for node in graph.node if node.name in region for name in node.output}
    wanted = {name for node in graph.node if node.name not in region for name in node.input}
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in region:
            nodes.append(node)
            continue
        for position in _half_inputs(node, parameters):
            name = node.input[position]
            if name in parameters:
                _store_half(parameters[name])
                continue
            if name not in half_names:
                half_names[name] = f"{name}:half"
                nodes.append(_cast(name, half_names[name], TensorProto.FLOAT16))
            node.input[position] = half_names[name]
        nodes.append(node)
        for index, name in enumerate(node.output):
            node.output[index] = half_names[name]
            if name in wanted or "/" not in name:  # a stage keeps its float32 name
                nodes.append(_cast(half_names[name], name, TensorProto.FLOAT))
    _replace_nodes(graph, nodes)


def _half_inputs(node: onnx.NodeProto, parameters: Mapping[str, onnx.TensorProto]) -> list[int]:
    """Positions of the inputs that carry half data: not shapes, scales of a resize, or DCN offsets."""
    if node.op_type == "Resize":
        return [0]
    float32 = [
        position
        for position, name in enumerate(node.input)
        if name and (name not in parameters or parameters[name].data_type == TensorProto.FLOAT)
    ]
    kept = (_DEFORM_OFFSET, _DEFORM_MASK) if node.op_type == "DeformConv" else ()
    return [position for position in float32 if position not in kept]


def _split_shared_parameters(graph: onnx.GraphProto, region: set[str]) -> None:
    """Copy a parameter that nodes on both sides use: each side keeps its own precision."""
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    positions = {node.name: _half_inputs(node, parameters) for node in graph.node if node.name in region}
    inside = {node.input[i] for node in graph.node for i in positions.get(node.name, ())}
    outside = {name for node in graph.node if node.name not in region for name in node.input}
    for name in sorted(inside & outside & set(parameters)):
        copy = graph.initializer.add()
        copy.CopyFrom(parameters[name])
        copy.name = f"{name}:half"
        for node in graph.node:
            for position in positions.get(node.name, ()):
                if node.input[position] == name:
                    node.input[position] = copy.name


def _round(tensor: onnx.TensorProto) -> None:
    tensor.CopyFrom(numpy_helper.from_array(_to_half(tensor).astype(np.float32), tensor.name))


def _to_half(tensor: onnx.TensorProto) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # beyond 65504 becomes infinite, as on a GPU; the build's proof sees it
        half: NDArray[np.float16] = numpy_helper.to_array(tensor).astype(np.float16)
    return half


def _store_half(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:  # else it was stored already, for another node
        tensor.CopyFrom(numpy_helper.from_array(_to_half(tensor), tensor.name))


def _cast(source: str, target: str, dtype: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}:cast", to=dtype)


def _cast_pair(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}:float16"
    return [_cast(source, half, TensorProto.FLOAT16), _cast(half, target, TensorProto.FLOAT)]


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
