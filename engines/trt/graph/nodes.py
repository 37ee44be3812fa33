"""Small helpers of the graph rewrites: attributes, plugin nodes, parameters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx
from onnx import helper, numpy_helper

from pssdet.errors import BadInput

#: Domain of plugin nodes. TensorRT's parser, 8.6 to 11, ignores it: it finds a plugin by the node's op_type,
#: ``plugin_version`` and ``plugin_namespace``. ONNX's checker takes unknown operators in any domain but its own.
PLUGIN_DOMAIN = "trt.plugins"
PLUGIN_NAMESPACE = "pssdet"
PLUGIN_VERSION = "1"

Attributes = dict[str, Any]


def attributes_of(node: onnx.NodeProto) -> Attributes:
    """A node's attributes as Python values; strings as ``str``."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def plugin_node(kind: str, inputs: list[str], outputs: list[str], name: str, attributes: Attributes) -> onnx.NodeProto:
    """A node that TensorRT's parser makes a plugin of this project."""
    return helper.make_node(
        kind,
        inputs,
        outputs,
        name=name,
        domain=PLUGIN_DOMAIN,
        plugin_version=PLUGIN_VERSION,
        plugin_namespace=PLUGIN_NAMESPACE,
        **attributes,
    )


def parameters_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def integers(tensor: onnx.TensorProto) -> list[int]:
    """A parameter's values as a flat list."""
    return [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]


def uses(graph: onnx.GraphProto) -> Counter[str]:
    """How often each tensor is read, as a graph's output too."""
    counts = Counter(name for node in graph.node for name in node.input)
    counts.update(output.name for output in graph.output)
    return counts


def refuse(node: onnx.NodeProto, reason: str) -> BadInput:
    """The error for a node that the plugins cannot serve."""
    return BadInput(f"{node.op_type} {node.name} has no TensorRT plugin: {reason}")
