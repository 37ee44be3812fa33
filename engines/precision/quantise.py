"""An exported model with QuantizeLinear / DequantizeLinear pairs, as TensorRT's explicit quantisation takes them.

Symmetric int8, zero point 0: one scale per tensor of activations, one per output channel of weights. Weights are stored
as int8. Biases and everything between the pairs stay float32. ONNX Runtime computes the same graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from pssdet.engines.precision.qdq_placement import CHANNEL_AXIS, QdqPlacement
from pssdet.engines.precision.ranges import LEVELS
from pssdet.engines.precision.region import prune, replace_nodes

_ZERO = "quantise:zero"


def quantise(model: onnx.ModelProto, ranges: Mapping[str, float], placement: QdqPlacement) -> onnx.ModelProto:
    """The model with the layers of ``placement`` in int8; existing tensors and nodes keep their names.

    Args:
        model: float32, as exported; it is left as it is.
        ranges: largest absolute value that each tensor of ``placement.activations`` keeps.
        placement: as ``place_qdq`` chose it for this model.
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
    """Weights as integers from -127 to 127 and the scale of each index of ``axis``; 1 where all are 0."""
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest = np.abs(values).max(axis=others)
    scales = np.where(largest > 0, largest / np.float32(LEVELS), 1).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(values / scales.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
    return integers, scales


def _activation(maker: str, name: str, largest: float, added: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Make the nodes that round a tensor to int8 and back; by their names they belong to the part of its producer."""
    scale, integers, back = f"{name}:scale", f"{name}:int8", f"{name}:dequantised"
    added[scale] = numpy_helper.from_array(np.float32(largest / LEVELS), scale)
    return [
        helper.make_node("QuantizeLinear", [name, scale, _ZERO], [integers], name=f"{maker}/quantise"),
        helper.make_node("DequantizeLinear", [integers, scale, _ZERO], [back], name=f"{maker}/dequantise"),
    ]


def _weights(node: onnx.NodeProto, tensor: onnx.TensorProto, added: dict[str, onnx.TensorProto]) -> onnx.NodeProto:
    """Make the node that converts a layer's integer weights; layers that share weights share the integers."""
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
