"""The plain-convolution twin of a deformable detector: what deforming costs is what the twin takes less."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_X, _WEIGHT, _BIAS = 0, 1, 3


def plain_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose DeformConv nodes are convolutions of the same sizes and weights; offsets are predicted no more.

    It takes and gives the same tensors. Its detections are others: only its time means something.
    """
    import onnx

    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    for node in twin.graph.node:
        if node.op_type == "DeformConv":
            inputs = [node.input[_X], node.input[_WEIGHT]]
            if len(node.input) > _BIAS and node.input[_BIAS]:
                inputs.append(node.input[_BIAS])
            kept = [attribute for attribute in node.attribute if attribute.name != "offset_group"]
            plain = onnx.helper.make_node("Conv", inputs, list(node.output), name=node.name)
            plain.attribute.extend(kept)
            node.CopyFrom(plain)
    _drop_unused(twin.graph)
    return twin


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
