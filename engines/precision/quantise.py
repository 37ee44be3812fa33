"""An exported model in int8 with Q/DQ pairs, as TensorRT and ONNX Runtime take it.

Symmetric: a scale per tensor of activations and per output channel of weights (``docs/precision.md``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pssdet.console import Progress
from pssdet.engines.precision.calibration import LEVELS, Method, calibrate, range_of, sha256_of_ranges
from pssdet.engines.precision.half import GraphLinks, prune, replace_nodes
from pssdet.engines.precision.recipe import HALF_PREFIXES, Recipe, default_recipe
from pssdet.models.card import MODEL_ONNX, CalibrationRecord, ModelCard

#: Layers with integer kernels everywhere, and the axis of their weights' output channels.
CHANNEL_AXIS = {"Conv": 0, "MatMul": 1}
#: Layers with weights of the trunk and the head, those without integer kernels included.
WEIGHTED = frozenset((*CHANNEL_AXIS, "DeformConv"))

#: The least drift of scores in both bundled detectors; ``benchmarks/int8_calibration.py``.
METHOD: Method = "entropy"
_ZERO = "quantise:zero"


class QdqPlacement(NamedTuple):
    """Which layers are quantised, and where QuantizeLinear / DequantizeLinear pairs stand.

    Attributes:
        layers: names of the Conv and MatMul nodes that compute in integers.
        activations: names of the tensors that are rounded to int8 for them.
        consumers: (node, position of the input) that read such a tensor rounded.
    """

    layers: tuple[str, ...]
    activations: tuple[str, ...]
    consumers: frozenset[tuple[str, int]]


def place_qdq(graph: onnx.GraphProto, float32: Iterable[str] = ()) -> QdqPlacement:
    """Choose an exported graph's integer layers and the tensors rounded for them.

    Not among them: ``float32`` nodes; the first convolution, whose input is the picture; predictors of DCN
    offsets and masks, where 8 bits would move samples visibly; DeformConv, which has no integer kernel; and
    the last layers of the RPN and of the heads, whose results are scores and boxes.

    A residual Add reads its shortcut rounded and the other branch as it is: so TensorRT can run
    convolution, Add and Relu in one kernel that reads and writes integers.
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
        node
        for node in graph.node
        if node.op_type == "AveragePool" and rounded >= {node.input[0], node.output[0]}
    ]
    consumers |= {(node.name, 0) for node in pools}
    order = dict.fromkeys(name for node in graph.node for name in node.output if name in rounded)
    return QdqPlacement(tuple(layers), tuple(order), frozenset(consumers))


class _QuantisationRules:
    def __init__(self, graph: onnx.GraphProto, float32: Iterable[str]) -> None:
        self._links = GraphLinks(graph)
        self._parameters = self._links.parameters.keys()
        self._inputs = {tensor.name for tensor in graph.input}
        self._float32 = {*default_recipe("", graph).fp32, *float32}

    def is_integer_layer(self, node: onnx.NodeProto) -> bool:
        return (
            node.op_type in CHANNEL_AXIS
            and node.name.startswith(HALF_PREFIXES)
            and node.input[1] in self._parameters
            and node.input[0] not in self._inputs
            and node.name not in self._float32
            and not self._leaves(node.output[0])
        )

    def shortcut(self, node: onnx.NodeProto, layers: Iterable[str]) -> int | None:
        """The input of a residual Add that is rounded; None for every other node."""
        if (
            node.op_type != "Add"
            or not node.name.startswith(HALF_PREFIXES)
            or self._parameters & set(node.input)
        ):
            return None
        if node.name in self._float32:
            return None
        followers = self._links.consumers.get(node.output[0], [])
        if not followers or any(each.op_type != "Relu" for each in followers):
            return None
        for position, name in enumerate(node.input):
            producer = self._links.producers.get(name)
            if producer is not None and producer.name in layers:
                return 1 - position
        return None

    def _leaves(self, name: str) -> bool:
        """Whether the detection part reads a layer's result, other than RoIAlign a map."""
        if name in self._links.outputs:
            return True
        for node in self._links.consumers.get(name, []):
            if not node.name.startswith(HALF_PREFIXES):
                if node.op_type != "MultilevelRoiAlign":
                    return True
            elif node.op_type == "Add" and self._parameters & set(node.input) and self._leaves(node.output[0]):
                return True
        return False


def quantise(model: onnx.ModelProto, ranges: Mapping[str, float], placement: QdqPlacement) -> onnx.ModelProto:
    """A copy of the model in which the layers of ``placement`` are int8; names stay as they are.

    Args:
        ranges: largest absolute value that each tensor of ``placement.activations`` keeps.
    """
    result = onnx.ModelProto.FromString(model.SerializeToString())
    graph = result.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    added: dict[str, onnx.TensorProto] = {_ZERO: numpy_helper.from_array(np.zeros((), np.int8), _ZERO)}
    rounded = set(placement.activations)
    layers = set(placement.layers)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            if (node.name, position) in placement.consumers:
                node.input[position] = f"{name}:dequantised"
        if node.name in layers:
            nodes.append(_weights(node, weights[node.input[1]], added))
        nodes.append(node)
        for name in node.output:
            if name in rounded:
                nodes += _activation(node.name, name, ranges[name], added)
    replace_nodes(graph, nodes)
    prune(graph)
    graph.initializer.extend(added.values())
    return result


def round_weights(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights from -127 to 127 and the scale of each index of ``axis``; 1 where all are 0."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest = np.abs(values).max(axis=others)
    scales = np.where(largest > 0, largest / np.float32(LEVELS), 1).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(values / scales.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
    return integers, scales


def _activation(
    maker: str, name: str, largest: float, added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Nodes that round a tensor to int8 and back, by name in the part of its producer."""
    scale, integers, back = f"{name}:scale", f"{name}:int8", f"{name}:dequantised"
    added[scale] = numpy_helper.from_array(np.float32(largest / LEVELS), scale)
    return [
        helper.make_node("QuantizeLinear", [name, scale, _ZERO], [integers], name=f"{maker}/quantise"),
        helper.make_node("DequantizeLinear", [integers, scale, _ZERO], [back], name=f"{maker}/dequantise"),
    ]


def _weights(
    node: onnx.NodeProto, tensor: onnx.TensorProto, added: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    """The node that converts a layer's weights, which layers may share."""
    name, axis = tensor.name, CHANNEL_AXIS[node.op_type]
    integers, scales, zeros = f"{name}:int8", f"{name}:scale", f"{name}:zero"
    if integers not in added:
        values, factors = round_weights(numpy_helper.to_array(tensor), axis)
        added[integers] = numpy_helper.from_array(values, integers)
        added[scales] = numpy_helper.from_array(factors, scales)
        added[zeros] = numpy_helper.from_array(np.zeros(len(factors), np.int8), zeros)
    node.input[1] = f"{node.name}:weights"
    return helper.make_node(
        "DequantizeLinear", [integers, scales, zeros], [node.input[1]], name=f"{node.name}/weights", axis=axis
    )


class QuantisedModel(NamedTuple):
    """A quantised model; ``layers`` are its nodes in int8, ``float_layers`` counts the other weighted ones."""

    model: onnx.ModelProto
    calibration: CalibrationRecord
    layers: tuple[str, ...]
    float_layers: int


def quantised_model(
    exported: onnx.ModelProto,
    folder: Path,
    card: ModelCard,
    pictures: Path,
    progress: Progress = lambda _: None,
    *,
    recipe: Recipe,
    method: Method = METHOD,
) -> QuantisedModel:
    """An exported model in int8, with ranges from pictures; the nodes of the recipe stay float32.

    Args:
        folder: where the exported model's file lies, which was verified.
        pictures: folder of pictures like those that the detector will see; labels are not needed.

    Raises:
        BadInput: as ``calibrate``, or the recipe is not for this model.
    """
    recipe.check(exported.graph)
    placement = place_qdq(exported.graph, recipe.fp32)
    histograms, count = calibrate(
        folder / MODEL_ONNX, card.preprocessing, pictures, placement.activations, progress
    )
    ranges = {name: range_of(histogram, method) for name, histogram in histograms.items()}
    record = CalibrationRecord(count, method, sha256_of_ranges(ranges))
    weighted = sum(
        node.op_type in WEIGHTED and node.name.startswith(HALF_PREFIXES) for node in exported.graph.node
    )
    quantised = quantise(exported, ranges, placement)
    return QuantisedModel(quantised, record, placement.layers, weighted - len(placement.layers))
