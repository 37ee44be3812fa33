"""The exported graph for every TensorRT parser from 8.6 to 11: plugins, constants folded, opset 17.

A parser ignores a node's domain and prefers a built-in importer or a function of that name to a plugin.
So plugins have names that no importer has, and no functions are left. 8.6 reads opsets after 17 as if
they were older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.precision.half import (
    cast,
    half_inputs,
    half_tensors,
    parameters_of,
    prune,
    replace_nodes,
    to_half,
)
from pssdet.engines.precision.recipe import HALF_PREFIXES
from pssdet.engines.trt.graph.plugin_nodes import replace_deform_convs, replace_functions
from pssdet.engines.trt.graph.plugins import DOMAIN, PLUGINS, attributes_of
from pssdet.engines.trt.graph.types import opset_of, tensor_types
from pssdet.errors import BadInput


def plugin_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float32 graph for TensorRT, as a new model of opset 17 without functions.

    Inputs, outputs and the tensors between stages keep their names; so do nodes that no plugin replaces.

    Raises:
        BadInput: something in it has no plugin, is beyond a plugin's limits or cannot be expressed in opset 17.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    _check_names(graph)
    del graph.value_info[:]
    clear_doc_strings(graph)
    fold_constants(graph)
    drop_empty_rois(graph)
    replace_functions(graph)
    replace_deform_convs(graph)
    del rewritten.functions[:]
    lower_opset(rewritten, [DOMAIN])
    sum_in_float(graph, tensor_types(rewritten))
    prune(graph)
    return rewritten


def typed_half(plugin_model: onnx.ModelProto, recipe_fp32_names: Iterable[str]) -> onnx.ModelProto:
    """The graph in mixed precision, as a new model, for a strongly typed network.

    There the builder changes no tensor's type. Trunk and head are half; so is RoIAlign between them, and
    the plugin of the proposals reads half maps. What positions of samples, boxes and scores are computed
    from stays float32.

    Args:
        plugin_model: what ``plugin_graph`` gives, float32.
        recipe_fp32_names: nodes that stay float32; those that a plugin replaced are ignored.

    Raises:
        BadInput: the graph's types contradict each other.
    """
    model = onnx.ModelProto()
    model.CopyFrom(plugin_model)
    del model.graph.value_info[:]
    region = typed_region(model.graph, recipe_fp32_names)
    to_half(model, region)
    tensor_types(model)
    return model


def typed_region(graph: onnx.GraphProto, recipe_fp32_names: Iterable[str]) -> set[str]:
    """Names of the nodes that compute in half precision."""
    kept = set(recipe_fp32_names)
    region = {node.name for node in graph.node if node.name.startswith(HALF_PREFIXES)} - kept
    parameters = parameters_of(graph)
    following = {plugin.op_type for plugin in PLUGINS.values() if plugin.follows_maps}
    for node in graph.node:
        if node.op_type in following and node.name not in kept:
            maps = {node.input[position] for position in half_inputs(node, parameters)}
            if maps <= half_tensors(graph, region):
                region.add(node.name)
    return region


def _check_names(graph: onnx.GraphProto) -> None:
    """Nodes need unique names: recipes and engine reports refer to them."""
    double = [
        name for name, count in Counter(node.name for node in graph.node).items() if count > 1 or not name
    ]
    if double:
        raise BadInput(
            f"{len(double)} names of nodes are missing or not unique; export the model with this version"
        )


OPSET = 17
IR_VERSION = 8

#: Attributes of later opsets that ask for what opset 17 does anyway.
_REDUNDANT = {"Split": {"num_outputs"}}


def clear_doc_strings(graph: onnx.GraphProto) -> None:
    """Clear the documentation of nodes, in place: the parser of 8.6 writes it behind a layer's ONNX name."""
    for node in graph.node:
        node.ClearField("doc_string")


def fold_constants(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes, and nodes that have only constant inputs, into initializers, in place."""
    parameters = parameters_of(graph)
    public = {output.name for output in graph.output}
    kept = []
    for node in graph.node:
        known = all(name in parameters for name in node.input if name)
        if node.domain or not known or not _is_foldable(node) or public & set(node.output):
            kept.append(node)
            continue
        for name, value in zip(node.output, _evaluated(node, parameters), strict=True):
            tensor = numpy_helper.from_array(np.asarray(value), name)
            graph.initializer.append(tensor)
            parameters[name] = tensor
    replace_nodes(graph, kept)


def sum_in_float(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    """Put casts around sums of integers, in place: TensorRT 8.6 sums floats only. Exact up to 2^24."""
    nodes = []
    for node in graph.node:
        integer = types[node.input[0]] if node.op_type == "ReduceSum" else TensorProto.FLOAT
        if integer not in {TensorProto.INT32, TensorProto.INT64}:
            nodes.append(node)
            continue
        source, target = node.input[0], node.output[0]
        node.input[0], node.output[0] = f"{target}:addends", f"{target}:sum"
        nodes += [
            cast(source, node.input[0], TensorProto.FLOAT),
            node,
            cast(node.output[0], target, integer),
        ]
    replace_nodes(graph, nodes)


def drop_empty_rois(graph: onnx.GraphProto) -> None:
    """Remove the empty region of each Resize, in place: TensorRT takes no empty weights."""
    parameters = parameters_of(graph)
    for node in graph.node:
        region = parameters.get(node.input[1]) if node.op_type == "Resize" and len(node.input) > 1 else None
        if region is not None and 0 in region.dims:
            node.input[1] = ""


def lower_opset(model: onnx.ModelProto, domains: Iterable[str]) -> None:
    """Declare opset 17 and IR version 8, in place, and drop what later opsets added.

    Args:
        domains: of the nodes that are not standard; they get version 1.

    Raises:
        BadInput: a node asks for something that opset 17 does not have.
    """
    current = opset_of(model) or OPSET
    for node in model.graph.node:
        if not node.domain and current > OPSET:
            _lower(node, current)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", min(current, OPSET)))
    model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in domains)
    model.ir_version = min(model.ir_version, IR_VERSION)


def _is_foldable(node: onnx.NodeProto) -> bool:
    """Random numbers, subgraphs and int8 weights stay: DequantizeLinear marks TensorRT's integer layers."""
    return not node.op_type.startswith("Random") and node.op_type not in {
        "If",
        "Loop",
        "Scan",
        "DequantizeLinear",
    }


def _evaluated(node: onnx.NodeProto, parameters: dict[str, onnx.TensorProto]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    values = {name: numpy_helper.to_array(parameters[name]) for name in node.input if name}
    results: list[np.ndarray] = ReferenceEvaluator(node).run(None, values)
    return results


def _lower(node: onnx.NodeProto, current: int) -> None:
    """Rewrite a node of a later opset for opset 17, in place."""
    try:
        newer = onnx.defs.get_schema(node.op_type, current, "")
        older = onnx.defs.get_schema(node.op_type, OPSET, "")
    except onnx.defs.SchemaError as error:
        raise BadInput(f"{node.op_type} {node.name} is not an operator of ONNX opset {OPSET}") from error
    values = attributes_of(node)
    for name in [name for name in values if name not in older.attributes]:
        if name not in _REDUNDANT.get(node.op_type, ()) and not _is_default(newer, name, values[name]):
            raise BadInput(
                f"{node.op_type} {node.name} has {name}={values[name]},"
                f" which ONNX opset {OPSET} cannot express; TensorRT 8.6 reads no later one"
            )
        node.attribute.remove(next(attribute for attribute in node.attribute if attribute.name == name))


def _is_default(schema: onnx.defs.OpSchema, name: str, value: object) -> bool:
    """Whether an attribute has its default; ones for dilations of pooling, which have none."""
    default = helper.get_attribute_value(schema.attributes[name].default_value)
    if isinstance(default, bytes):
        default = default.decode()
    if name == "dilations":
        return set(value) <= {1} if isinstance(value, list) else False
    return bool(value == default)
