"""How a build gets its precision: the route that the installed TensorRT has, and the graph for it."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from pssdet.engines.trt.graph.rewrite import typed_half, typed_region
from pssdet.engines.trt.plan.capabilities import Capabilities
from pssdet.engines.trt.plan.settings import Route
from pssdet.errors import BadInput, EnvironmentMissing


def choose_route(capabilities: Capabilities, *, reduced: bool, typed: bool) -> Route:
    """The route of a build.

    Args:
        reduced: FP16 or INT8 was asked for.
        typed: a strongly typed network was asked for.

    Raises:
        BadInput: there are no strongly typed networks in this version.
        EnvironmentMissing: the version has flags for FP16 but cannot hold layers to float32.
    """
    if typed and not capabilities.can_be_typed:
        raise BadInput("this TensorRT has no strongly typed networks; leave out --strongly-typed")
    if not reduced:
        return "typed" if typed else "plain"
    if typed or capabilities.always_typed:
        return "typed"
    if not capabilities.constraints:
        raise EnvironmentMissing(
            "this TensorRT cannot hold layers to float32 (no OBEY_PRECISION_CONSTRAINTS); 8.2 is the first that can"
        )
    return "flags"


def graph_for(
    plugin_model: onnx.ModelProto, route: Route, kept: Iterable[str], *, reduced: bool
) -> tuple[onnx.ModelProto, frozenset[str]]:
    """The graph to build, and the nodes to constrain to float32 where the builder chooses the types.

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
