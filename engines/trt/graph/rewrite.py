"""The exported graph as TensorRT's parser takes it: plugins for deformable convolutions and the detection part.

TensorRT's parser, from 8.6 to 11, chooses by a node's op_type, whatever its domain: a built-in importer of that name
if there is one, then (from 9.0 on) a model-local function, then a plugin of that name with the node's
``plugin_version`` and ``plugin_namespace``. So plugin nodes have names that no importer has, and no functions are left
for a parser to prefer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import onnx

from pssdet.engines.precision.half import TypedRewriter, half_inputs, half_tensors, parameters_of, prune, rewrite_region
from pssdet.engines.precision.recipe import HALF_PREFIXES
from pssdet.engines.trt.graph.plugin_nodes import replace_deform_convs, replace_functions
from pssdet.engines.trt.graph.plugins import DOMAIN, PLUGINS
from pssdet.engines.trt.graph.standard import drop_empty_rois, fold_constants, lower_opset, sum_in_float
from pssdet.engines.trt.graph.types import tensor_types
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

    In such a network every tensor has the type that the graph says, and the builder changes none; TensorRT 10 takes
    them too, 11 takes nothing else. Trunk and head are half, except for the nodes that a recipe names; so is RoIAlign
    between them, and the plugin of the proposals reads half maps. Whatever positions of samples, boxes and scores are
    computed from stays float32.

    Args:
        plugin_model: what ``plugin_graph`` gives, float32.
        recipe_fp32_names: nodes that stay float32; names of nodes that a plugin replaced are ignored.

    Raises:
        BadInput: the graph's types contradict each other.
    """
    model = onnx.ModelProto()
    model.CopyFrom(plugin_model)
    del model.graph.value_info[:]
    region = typed_region(model.graph, recipe_fp32_names)
    rewrite_region(model.graph, region, TypedRewriter(model.graph, region))
    tensor_types(model)
    return model


def typed_region(graph: onnx.GraphProto, recipe_fp32_names: Iterable[str]) -> set[str]:
    """Names of the nodes that compute in half precision."""
    kept = set(recipe_fp32_names)
    region = {node.name for node in graph.node if node.name.startswith(HALF_PREFIXES)} - kept
    parameters = parameters_of(graph)
    for node in graph.node:
        if _follows_maps(node) and node.name not in kept:
            maps = {node.input[position] for position in half_inputs(node, parameters)}
            if maps <= half_tensors(graph, region):
                region.add(node.name)
    return region


def _follows_maps(node: onnx.NodeProto) -> bool:
    return node.op_type in PLUGINS and PLUGINS[node.op_type].follows_maps


def _check_names(graph: onnx.GraphProto) -> None:
    """Nodes need unique names: recipes and engine reports refer to them."""
    double = [name for name, count in Counter(node.name for node in graph.node).items() if count > 1 or not name]
    if double:
        raise BadInput(f"{len(double)} names of nodes are missing or not unique; export the model with this version")
