"""A plugin graph brought to the precision of a build, on the route that the installed TensorRT has."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from pssdet.engines.trt.graph.rewrite import typed_half
from pssdet.engines.trt.graph.typed import typed_region
from pssdet.engines.trt.plan.settings import Route


def graph_for(
    plugin_model: onnx.ModelProto, route: Route, kept: Iterable[str], *, reduced: bool
) -> tuple[onnx.ModelProto, frozenset[str]]:
    """The graph to build, and the nodes to hold to float32 where the builder chooses the types.

    Args:
        plugin_model: what ``rewrite.plugin_graph`` gives.
        kept: nodes of trunk and head that stay float32; see ``recipe.Recipe``.
        reduced: FP16 or INT8 was asked for; else the graph stays as it is.

    Raises:
        BadInput: the graph's types contradict each other.
    """
    if not reduced:
        return plugin_model, frozenset()
    if route == "typed":
        return typed_half(plugin_model, kept), frozenset()
    names = {node.name for node in plugin_model.graph.node}
    return plugin_model, frozenset(names - typed_region(plugin_model.graph, kept))
