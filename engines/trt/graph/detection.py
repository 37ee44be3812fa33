"""The pssdet functions of an exported model as plugin nodes, within the limits of plugins/detection/detection.h."""

from __future__ import annotations

from typing import Any

import onnx

from pssdet.engines.trt.graph.nodes import Attributes, attributes_of, refuse
from pssdet.engines.trt.graph.plugins import MAX_ANCHORS, PLUGINS, Field, Plugin
from pssdet.errors import BadInput

FUNCTION_DOMAIN = "pssdet"

_PLUGIN_OF = {plugin.function: plugin for plugin in PLUGINS.values() if plugin.function}


def replace_functions(graph: onnx.GraphProto) -> None:
    """Make every call of a pssdet function a plugin node, in place.

    Raises:
        BadInput: a function without a plugin, or sizes beyond the plugins' limits.
    """
    for index, node in enumerate(graph.node):
        if node.domain != FUNCTION_DOMAIN:
            continue
        plugin = _PLUGIN_OF.get(node.op_type)
        if plugin is None:
            raise BadInput(f"{node.op_type} {node.name} has no TensorRT plugin; export the model with this version")
        outputs = len(plugin.outputs)
        if len(node.output) != outputs or not all(node.output):
            raise refuse(node, f"it has not the {outputs} outputs of that function")
        attributes = _attributes(node, plugin)
        _check_levels(node, plugin, attributes)
        graph.node[index].CopyFrom(plugin.node(node.input, node.output, node.name, attributes))


def _attributes(node: onnx.NodeProto, plugin: Plugin) -> Attributes:
    """The values of the plugin's fields, within their limits."""
    given = attributes_of(node)
    attributes: Attributes = {}
    for field in plugin.fields:
        name = field.function_attribute or field.name
        if name not in given:
            raise refuse(node, f"its attribute {name!r} is missing; export the model with this version")
        attributes[field.name] = _value(node, field, given[name])
    return attributes


def _value(node: onnx.NodeProto, field: Field, given: Any) -> Any:
    if field.choices:
        if given not in field.choices:
            raise refuse(node, f"{field.function_attribute} is {given}; {' or '.join(field.choices)} is needed")
        return field.choices[given]
    if field.limits is not None:
        _check_limits(node, field.counts, len(given) if isinstance(given, list) else given, *field.limits)
    return given


def _check_levels(node: onnx.NodeProto, plugin: Plugin, attributes: Attributes) -> None:
    """Check the numbers of anchors and inputs against the number of strides."""
    if "strides" not in attributes:
        return
    levels = len(attributes["strides"])
    expected = sum(levels if tensor.per_level else 1 for tensor in plugin.inputs)
    anchors, rest = divmod(len(attributes.get("anchors", ())), 4 * levels)
    if rest or len(node.input) != expected:
        parts = "anchors and inputs" if "anchors" in attributes else "inputs"
        raise refuse(node, f"its {parts} do not fit its strides")
    if "anchors" in attributes:
        _check_limits(node, "anchors of a cell", anchors, 1, MAX_ANCHORS)


def _check_limits(node: onnx.NodeProto, what: str, count: int, least: int, most: int) -> None:
    if not least <= count <= most:
        raise refuse(node, f"{count} {what}, it takes {least} to {most}; the onnxruntime backend has no such limit")
