"""The plugin graph as a strongly typed one of mixed precision, which TensorRT 10 takes too and 11 takes alone.

In such a network every tensor has the type that the graph says, and the builder changes none. Trunk and head are half,
but for what a recipe names; so is RoIAlign between them, and the plugin of the proposals reads half maps. What the
samples of deformable convolutions, boxes and scores are computed from stays float32.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from pssdet.engines.precision.recipe import HALF_PREFIXES
from pssdet.engines.precision.region import TypedRewriter, half_inputs, half_tensors, rewrite_region
from pssdet.engines.trt.graph.nodes import parameters_of
from pssdet.engines.trt.graph.types import tensor_types

#: Plugins outside of trunk and head that follow the type of the maps they read.
_FOLLOWERS = ("PssDetMultilevelRoiAlign", "PssDetGenerateProposals")


def typed_half(plugin_model: onnx.ModelProto, recipe_fp32_names: Iterable[str]) -> onnx.ModelProto:
    """The same graph in mixed precision, as a new model; see ``plugin_graph`` for its form.

    Args:
        plugin_model: what ``plugin_graph`` gives, float32.
        recipe_fp32_names: nodes that stay float32; names of nodes that a plugin does the work of are passed over.

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
        if node.op_type in _FOLLOWERS and node.name not in kept:
            maps = {node.input[position] for position in half_inputs(node, parameters)}
            if maps <= half_tensors(graph, region):
                region.add(node.name)
    return region
