"""A detector with plain convolutions in place of deformable ones: the difference in time is what DCN costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_X, _WEIGHT, _BIAS = 0, 1, 3


def without_dcn(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose DeformConv nodes are convolutions of the same sizes and weights, without the offsets' predictors.

    Inputs and outputs keep their names and shapes. The detections are meaningless; only the time counts.
    """
    import onnx

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.op_type == "DeformConv":
            inputs = [node.input[_X], node.input[_WEIGHT]]
            if len(node.input) > _BIAS and node.input[_BIAS]:
                inputs.append(node.input[_BIAS])
            kept = [attribute for attribute in node.attribute if attribute.name != "offset_group"]
            convolution = onnx.helper.make_node("Conv", inputs, list(node.output), name=node.name)
            convolution.attribute.extend(kept)
            node.CopyFrom(convolution)
    _drop_unused(plain.graph)
    return plain


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove, in place, nodes and parameters that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    parameters = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(parameters)
