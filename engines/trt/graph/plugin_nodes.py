"""The exported graph's DeformConv nodes and pssdet functions as plugin nodes.

A DCNv2 layer is Conv -> Split into offsets and masks -> Sigmoid of the masks -> DeformConv -> Relu.
The plugin does all that follows the Conv: ``raw_mask`` means that the last third of the Conv's channels
are masks before their sigmoid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from pssdet.engines.precision.half import GraphLinks, is_stage, replace_nodes
from pssdet.engines.trt.graph.plugins import (
    DEFORM_CONV,
    MAX_ANCHORS,
    PLUGINS,
    Attributes,
    Field,
    Plugin,
    attributes_of,
    refuse,
)
from pssdet.errors import BadInput


def replace_deform_convs(graph: onnx.GraphProto) -> None:
    """Make every DeformConv a plugin node, in place; it keeps the DeformConv's name.

    Raises:
        BadInput: one is not 2-D or has weights that are not constant.
    """
    links = GraphLinks(graph)
    replaced: dict[str, onnx.NodeProto] = {}
    gone: set[str] = set()
    for node in graph.node:
        if node.op_type == "DeformConv":
            replaced[node.name], swallowed = _plugin(graph, node, links)
            gone |= swallowed
    replace_nodes(graph, [replaced.get(node.name, node) for node in graph.node if node.name not in gone])


def _plugin(graph: onnx.GraphProto, node: onnx.NodeProto, links: GraphLinks) -> tuple[onnx.NodeProto, set[str]]:
    """The plugin node, and the names of the nodes that it replaces besides."""
    x, weight, offset, bias, mask = [*node.input, "", ""][:5]
    attributes = _convolution(node, links.parameters.get(weight))
    swallowed: set[str] = set()
    raw = _raw_mask(offset, mask, attributes, links)
    if raw:
        offset, mask = raw[0].input[0], ""
        swallowed |= {each.name for each in raw}
    relu = _relu(node.output[0], links)
    if relu:
        swallowed.add(relu.name)
    flags = {"has_bias": bias, "has_mask": mask, "raw_mask": raw, "relu": relu, "half_offsets": None}
    attributes |= {name: int(bool(value)) for name, value in flags.items()}
    inputs = [x, _packed(graph, links.parameters, weight), offset, bias, mask]
    outputs = list((relu or node).output)
    return DEFORM_CONV.node([name for name in inputs if name], outputs, node.name, attributes), swallowed


def _convolution(node: onnx.NodeProto, weight: onnx.TensorProto | None) -> Attributes:
    """Every attribute of the convolution, ONNX's defaults included."""
    if weight is None:
        raise refuse(node, "its weights are not a constant")
    if len(weight.dims) != 4:
        raise refuse(node, f"its weights have {len(weight.dims)} dimensions, 4 are needed")
    given = attributes_of(node)
    return {
        "dilations": list(given.get("dilations", [1, 1])),
        "group": given.get("group", 1),
        "kernel_shape": list(weight.dims[2:]),
        "offset_group": given.get("offset_group", 1),
        "pads": list(given.get("pads", [0, 0, 0, 0])),
        "strides": list(given.get("strides", [1, 1])),
    }


def _raw_mask(
    offset: str, mask: str, attributes: Attributes, links: GraphLinks
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Split and the Sigmoid before a DeformConv, if nothing else uses them."""
    sigmoid = links.producers.get(mask)
    if sigmoid is None or sigmoid.op_type != "Sigmoid":
        return None
    split = links.producers.get(offset)
    if split is None or split.op_type != "Split" or list(split.output) != [offset, sigmoid.input[0]]:
        return None
    taps = int(np.prod(attributes["kernel_shape"])) * attributes["offset_group"]
    sizes = links.parameters.get(split.input[1]) if len(split.input) == 2 else None
    halves = (
        sizes is not None
        and numpy_helper.to_array(sizes).tolist() == [2 * taps, taps]
        and attributes_of(split).get("axis", 0) == 1
    )
    alone = all(_is_private(links, name) for name in (offset, sigmoid.input[0], mask))
    return (split, sigmoid) if halves and alone else None


def _relu(output: str, links: GraphLinks) -> onnx.NodeProto | None:
    readers = links.consumers.get(output, [])
    if len(readers) == 1 and readers[0].op_type == "Relu" and _is_private(links, output):
        return readers[0]
    return None


def _is_private(links: GraphLinks, name: str) -> bool:
    """Whether exactly one node reads this tensor, which is neither an output nor a stage."""
    return len(links.consumers.get(name, ())) == 1 and name not in links.outputs and not is_stage(name)


def _packed(graph: onnx.GraphProto, parameters: dict[str, onnx.TensorProto], name: str) -> str:
    """Name of the weights in the kernel's order, [O, C / group, kh, kw] to [O, kh, kw, C / group]."""
    packed = f"{name}:packed"
    if packed not in parameters:
        oihw = numpy_helper.to_array(parameters[name])
        tensor = numpy_helper.from_array(np.ascontiguousarray(oihw.transpose(0, 2, 3, 1)), packed)
        graph.initializer.append(tensor)
        parameters[packed] = tensor
    return packed


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
            raise BadInput(
                f"{node.op_type} {node.name} has no TensorRT plugin; export the model with this version"
            )
        outputs = len(plugin.outputs)
        if len(node.output) != outputs or not all(node.output):
            raise refuse(node, f"it does not have the {outputs} outputs of that function")
        attributes = _attributes(node, plugin)
        _check_levels(node, plugin, attributes)
        graph.node[index].CopyFrom(plugin.node(node.input, node.output, node.name, attributes))


def _attributes(node: onnx.NodeProto, plugin: Plugin) -> Attributes:
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
        raise refuse(
            node, f"{count} {what}, it takes {least} to {most}; the onnxruntime backend has no such limit"
        )
