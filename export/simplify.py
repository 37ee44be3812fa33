"""Simplifications of a converted graph: no identities, batch norms, separate biases or dead nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

#: Convolutions, and the position of the bias among their inputs.
_BIAS = {"Conv": 2, "DeformConv": 3}

_Vector = NDArray[np.float64]
_Weights = dict[str, onnx.TensorProto]


def name_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    """Give the outputs, by position, their names; the producing node then makes them itself."""
    renamed = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        rename(node, renamed)


def simplify(graph: onnx.GraphProto) -> None:
    """All simplifications, in place; the graph computes the same up to float32 rounding."""
    _constants_to_initializers(graph)
    _remove_identities(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    _fold_into_convolutions(graph, weights)
    _remove_dead(graph)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = graph.initializer.add()
        tensor.CopyFrom(next(a.t for a in node.attribute if a.name == "value"))
        tensor.name = node.output[0]
        graph.node.remove(node)


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give the tensors that a node reads and writes their new names, where they have one."""
    for values in (node.input, node.output):
        for index, name in enumerate(values):
            values[index] = names.get(name, name)


def _remove_identities(graph: onnx.GraphProto) -> None:
    outputs = {output.name for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        source, target = node.input[0], node.output[0]
        if target in outputs and source in outputs:
            continue  # one tensor under two public names
        graph.node.remove(node)
        kept, gone = (target, source) if target in outputs else (source, target)
        for other in graph.node:
            rename(other, {gone: kept})


def _fold_into_convolutions(graph: onnx.GraphProto, weights: _Weights) -> None:
    """Fold Add(constant per channel) and BatchNormalization that follow a convolution into it."""
    users = Counter(name for node in graph.node for name in node.input)
    public = {output.name for output in graph.output}
    convolutions = {node.output[0]: node for node in graph.node if node.op_type in _BIAS}
    for node in list(graph.node):
        source = next((name for name in node.input if name in convolutions), None)
        if source is None or users[source] != 1 or source in public:
            continue
        scale_shift = _scale_and_shift(node, weights)
        if scale_shift is None:
            continue
        convolution = convolutions[source]
        if users[convolution.input[1]] > 1 and np.any(scale_shift[0] != 1.0):
            continue  # other nodes use the same weights, which must not be scaled under them
        del convolutions[source]
        _apply(graph, convolution, weights, *scale_shift)
        convolution.output[0] = node.output[0]
        convolutions[node.output[0]] = convolution
        graph.node.remove(node)


def _scale_and_shift(node: onnx.NodeProto, weights: _Weights) -> tuple[_Vector, _Vector] | None:
    """The node as y = scale * x + shift per channel, or None if it is neither."""
    if node.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (_array(weights[name]) for name in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale
    if node.op_type == "Add":
        other = next((name for name in node.input if name in weights), "")
        if other and _is_per_channel(weights[other].dims):
            shift = _array(weights[other]).reshape(-1)
            return np.ones_like(shift), shift
    return None


def _is_per_channel(dims: Sequence[int]) -> bool:
    return len(dims) == 4 and dims[0] == dims[2] == dims[3] == 1


def _apply(
    graph: onnx.GraphProto, convolution: onnx.NodeProto, weights: _Weights, scale: _Vector, shift: _Vector
) -> None:
    position = _BIAS[convolution.op_type]
    name = convolution.input[1]
    weight = _array(weights[name])
    bias = np.zeros(weight.shape[0])
    if len(convolution.input) > position and convolution.input[position]:
        bias = _array(weights[convolution.input[position]])
    _store(graph, weights, name, weight * scale.reshape(-1, 1, 1, 1))
    bias_name = name.removesuffix(".weight") + ".bias"
    _store(graph, weights, bias_name, bias * scale + shift)
    inputs = [*convolution.input, *[""] * (position + 1 - len(convolution.input))]
    inputs[position] = bias_name
    del convolution.input[:]
    convolution.input.extend(inputs)


def _array(tensor: onnx.TensorProto) -> NDArray[np.float64]:
    values: NDArray[np.float64] = numpy_helper.to_array(tensor).astype(np.float64)
    return values


def _store(graph: onnx.GraphProto, weights: _Weights, name: str, values: _Vector) -> None:
    tensor = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
    if name in weights:
        weights[name].CopyFrom(tensor)
    else:
        graph.initializer.append(tensor)
        weights[name] = graph.initializer[-1]


def _remove_dead(graph: onnx.GraphProto) -> None:
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)
