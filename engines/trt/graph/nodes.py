"""Small helpers of the graph rewrites: attributes, parameters, opsets."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from pssdet.errors import BadInput

Attributes = dict[str, Any]


def attributes_of(node: onnx.NodeProto) -> Attributes:
    """A node's attributes as Python values; strings as ``str``."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def parameters_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's initializers by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a model declares; 0 if none."""
    return next((entry.version for entry in model.opset_import if not entry.domain), 0)


def integers(tensor: onnx.TensorProto) -> list[int]:
    """A parameter's values as a flat list."""
    return [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]


def type_name(value: int) -> str:
    """ONNX's name of an element type."""
    return str(TensorProto.DataType.Name(value))


def refuse(node: onnx.NodeProto, reason: str) -> BadInput:
    """The error for a node that the plugins cannot serve."""
    return BadInput(f"{node.op_type} {node.name} has no TensorRT plugin: {reason}")
