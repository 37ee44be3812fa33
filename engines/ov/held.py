"""Nodes that stay in float32 in an OpenVINO model of lower precision: what OpenVINO needs to hold them.

OpenVINO keeps a layer in float32 that is marked as ``precise``, but it makes one layer of several nodes:

- Of a product and the constant vector that is added to it, one that has no mark. It does so only where the
  vector runs along the last axis; so the sum of a held product gets one more axis, which changes no value.
- Of a convolution, its sum with another one and the activation behind it, one that it cannot compile unless
  all of them have the same precision; so those are held, too.
- Of a convolution and the activation behind it, one that has no mark if only the activation has one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pssdet.engines.precision.recipe import HALF_PREFIXES

if TYPE_CHECKING:
    import onnx

#: How the names of nodes begin that are inserted; as all that is neither trunk nor head, they stay in float32.
HELD = "held/"


class _Sum(NamedTuple):
    """A product and what follows it, each the only consumer of the one before."""

    product: onnx.NodeProto
    add: onnx.NodeProto
    bias: onnx.TensorProto
    last: onnx.NodeProto  # the Add, or the Relu behind it, with which OpenVINO would swap a Reshape


def is_held(node: str, float32: Collection[str]) -> bool:
    """Whether a node computes in float32 in every precision: ``float32``, and all but trunk and head."""
    return node in float32 or not node.startswith(HALF_PREFIXES)


def completed(graph: onnx.GraphProto, float32: Collection[str]) -> frozenset[str]:
    """The nodes and those that OpenVINO computes in one layer with them.

    These are the sums that held convolutions are part of, and the activations of those sums; and convolutions
    that only nodes outside of trunk and head read (the RPN's), with which OpenVINO computes a held activation.
    """
    from pssdet.engines.precision.half import GraphLinks  # needs onnx, which opening an engine does not

    consumers = GraphLinks(graph).consumers
    held = set(float32)
    for node in graph.node:  # in the order in which they run
        following = [each for name in node.output for each in consumers.get(name, [])]
        if node.op_type == "Conv" and following and all(is_held(each.name, ()) for each in following):
            held.add(node.name)
        if node.name in held and node.op_type in ("Conv", "Add"):
            kind = "Add" if node.op_type == "Conv" else "Relu"
            held |= {each.name for each in following if each.op_type == kind}
    return frozenset(held)


def keep_products_apart(model: onnx.ModelProto, float32: Collection[str]) -> None:
    """Give the sum of each held ``MatMul`` [R, N] and its bias [N] one more axis, in place.

    Args:
        float32: names of the nodes that stay in float32.
    """
    from onnx import numpy_helper

    from pssdet.engines.precision.half import replace_nodes

    graph = model.graph
    reshapes: dict[str, onnx.NodeProto] = {}  # by the name of the node that each follows
    for number, each in enumerate(_held_sums(graph, float32)):
        product, result = each.product.output[0], each.last.output[0]
        bias, wide, wide_result = (f"{HELD}{number}/{what}" for what in ("bias", "product", "sum"))
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(each.bias)[:, np.newaxis], bias))
        each.add.input[:] = [wide if name == product else bias for name in each.add.input]
        each.last.output[0] = wide_result
        reshapes[each.product.name] = _reshape(graph, f"{HELD}{number}/add axis", product, wide, (0, 0, 1))
        reshapes[each.last.name] = _reshape(graph, f"{HELD}{number}/drop axis", wide_result, result, (0, 0))
    pairs = ((node, reshapes.get(node.name)) for node in graph.node)
    replace_nodes(graph, [each for pair in pairs for each in pair if each is not None])


def _reshape(
    graph: onnx.GraphProto, name: str, given: str, made: str, shape: tuple[int, ...]
) -> onnx.NodeProto:
    """A node and its constant; a 0 in the shape keeps that dimension."""
    from onnx import helper, numpy_helper

    constant = f"shape of {name}"
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), constant))
    return helper.make_node("Reshape", [given, constant], [made], name)


def _held_sums(graph: onnx.GraphProto, float32: Collection[str]) -> list[_Sum]:
    from pssdet.engines.precision.half import GraphLinks

    consumers = GraphLinks(graph).consumers
    vectors = {each.name: each for each in graph.initializer if len(each.dims) == 1}

    def only_consumer(node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
        following = consumers.get(node.output[0], [])
        return following[0] if len(following) == 1 and following[0].op_type == kind else None

    sums = []
    for product in graph.node:
        if product.op_type != "MatMul" or product.name not in float32:
            continue
        add = only_consumer(product, "Add")
        biases = [vectors[name] for name in add.input if name in vectors] if add is not None else []
        if add is None or not biases:
            continue
        relu = only_consumer(add, "Relu")
        last = relu if relu is not None and relu.name in float32 else add
        sums.append(_Sum(product, add, biases[0], last))
    return sums
