"""Twins of an exported detector without deformable convolutions, to be timed: their results mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pssdet.engines.precision.recipe import HALF_PREFIXES

if TYPE_CHECKING:
    import onnx


def without_dcn(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with plain convolutions of the same shapes, and without the predictors of offsets and masks."""
    import onnx

    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.op_type == "DeformConv":
            x, weight, _, *bias = node.input[:4]
            inputs = [name for name in (x, weight, *bias) if name]
            kept = [attribute for attribute in node.attribute if attribute.name != "offset_group"]
            convolution = onnx.helper.make_node("Conv", inputs, list(node.output), name=node.name)
            convolution.attribute.extend(kept)
            node.CopyFrom(convolution)
    _drop_unused(plain.graph)
    return plain


def network_alone(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the trunk and the heads (``HALF_PREFIXES``) only: no proposals, RoIAlign, decoding or NMS.

    Its inputs are ``image`` and, for each head, the region features that RoIAlign would make; its outputs are
    what no other part of the network reads.
    """
    from onnx import TensorProto, helper

    kept = [node for node in model.graph.node if node.name.startswith(HALF_PREFIXES)]
    made = {name for node in kept for name in node.output}
    read = {name for node in kept for name in node.input if name}
    parameters = {tensor.name for tensor in model.graph.initializer}
    maps = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)
        for name in sorted(read - made - parameters)
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(made - read)]
    graph = helper.make_graph(kept, "network", maps, results, model.graph.initializer)
    _drop_unused(graph)
    opset = [each for each in model.opset_import if not each.domain]
    return helper.make_model(graph, opset_imports=opset, ir_version=model.ir_version)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and parameters on which no output depends."""
    from pssdet.engines.precision.half import prune

    needed = {output.name for output in graph.output}
    used = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            used.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(used))
    prune(graph)
