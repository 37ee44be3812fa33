"""Which layers of an exported model compute in 8-bit integers, and which tensors are rounded for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import onnx

from pssdet.engines.precision.recipe import default_recipe
from pssdet.models.stages import HEAD_NODES, TRUNK_NODES

#: Layers with integer kernels everywhere, and the axis of their weights' output channels.
CHANNEL_AXIS = {"Conv": 0, "MatMul": 1}
#: Layers with weights of the trunk and the head, those without integer kernels included.
WEIGHTED = frozenset((*CHANNEL_AXIS, "DeformConv"))


class QdqPlacement(NamedTuple):
    """Which layers are quantised, and where QuantizeLinear / DequantizeLinear pairs stand.

    Attributes:
        layers: names of the Conv and MatMul nodes that compute in integers, in the graph's order.
        activations: names of the tensors that are rounded to int8 for them, in the graph's order.
        consumers: (node, position of the input) that read such a tensor rounded; all others read it as it is.
    """

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    consumers: frozenset[tuple[str, int]]


def place_qdq(graph: onnx.GraphProto, float32: Iterable[str] = ()) -> QdqPlacement:
    """Choose the integer layers of an exported graph and the tensors that are rounded for them.

    Not among them: the first convolution, whose input is the picture; those that predict DCN offsets and masks, where a
    step of 8 bits would move samples by visible fractions of a pixel; DeformConv, which has no integer kernel; and the
    last layers of the RPN and of the heads, whose results are scores and boxes. All of these are a small part of the
    arithmetic, but for DeformConv.

    A residual Add reads its shortcut rounded and the other branch's convolution as it is: so TensorRT can run
    convolution, Add and Relu in one kernel that reads and writes integers.

    Args:
        graph: of an exported model.
        float32: nodes that stay as they are, besides; see ``recipe.Recipe``.
    """
    rules = _QuantisationRules(graph, float32)
    layers = {node.name: node for node in graph.node if rules.is_integer_layer(node)}
    consumers = {(name, 0) for name in layers}
    for node in graph.node:
        if (shortcut := rules.shortcut(node, layers)) is not None:
            consumers.add((node.name, shortcut))
    nodes = {node.name: node for node in graph.node}
    rounded = {nodes[name].input[position] for name, position in consumers}
    # Pooling between two rounded tensors runs in integers too if its own input is rounded.
    pools = [
        node for node in graph.node if node.op_type == "AveragePool" and rounded >= {node.input[0], node.output[0]}
    ]
    consumers |= {(node.name, 0) for node in pools}
    order = dict.fromkeys(name for node in graph.node for name in node.output if name in rounded)
    return QdqPlacement(tuple(layers), tuple(order), frozenset(consumers))


class _QuantisationRules:
    """Which nodes of one graph are quantised."""

    def __init__(self, graph: onnx.GraphProto, float32: Iterable[str]) -> None:
        self._parameters = {tensor.name for tensor in graph.initializer}
        self._inputs = {tensor.name for tensor in graph.input}
        self._outputs = {tensor.name for tensor in graph.output}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._float32 = {*default_recipe("", graph).fp32, *float32}

    def is_integer_layer(self, node: onnx.NodeProto) -> bool:
        return (
            node.op_type in CHANNEL_AXIS
            and in_trunk_or_head(node)
            and node.input[1] in self._parameters
            and node.input[0] not in self._inputs
            and node.name not in self._float32
            and not self._leaves(node.output[0])
        )

    def shortcut(self, node: onnx.NodeProto, layers: Iterable[str]) -> int | None:
        """The input of a residual Add that is rounded; None for every other node."""
        if node.op_type != "Add" or not in_trunk_or_head(node) or self._parameters & set(node.input):
            return None
        if node.name in self._float32:
            return None
        followers = self._consumers.get(node.output[0], [])
        if not followers or any(each.op_type != "Relu" for each in followers):
            return None
        for position, name in enumerate(node.input):
            producer = self._producers.get(name)
            if producer is not None and producer.name in layers:
                return 1 - position
        return None

    def _leaves(self, name: str) -> bool:
        """Whether a layer's result, with its bias, is what the detection part reads, and not a map for RoIAlign."""
        if name in self._outputs:
            return True
        for node in self._consumers.get(name, []):
            if not in_trunk_or_head(node):
                if node.op_type != "MultilevelRoiAlign":
                    return True
            elif node.op_type == "Add" and self._parameters & set(node.input) and self._leaves(node.output[0]):
                return True
        return False


def in_trunk_or_head(node: onnx.NodeProto) -> bool:
    """Whether a node is of the trunk or of a head."""
    return bool(node.name.startswith((TRUNK_NODES, HEAD_NODES)))
