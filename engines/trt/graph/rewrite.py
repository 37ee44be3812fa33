"""The exported graph as TensorRT's parser takes it: plugins for deformable convolutions and the detection part.

TensorRT's parser, from 8.6 to 11, chooses by a node's op_type, whatever its domain: a built-in importer of that name
if there is one, then (from 9.0 on) a model-local function, then a plugin of that name with the node's
``plugin_version`` and ``plugin_namespace``. So plugin nodes have names that no importer has, and no functions are left
for a parser to prefer.
"""

from __future__ import annotations

from collections import Counter

import onnx

from pssdet.engines.precision.region import prune
from pssdet.engines.trt.graph.deform_conv import replace_deform_convs
from pssdet.engines.trt.graph.detection import replace_functions
from pssdet.engines.trt.graph.nodes import PLUGIN_DOMAIN
from pssdet.engines.trt.graph.standard import drop_empty_rois, fold_constants, lower_opset, sum_in_float
from pssdet.engines.trt.graph.support import unsupported
from pssdet.engines.trt.graph.typed import typed_half
from pssdet.engines.trt.graph.types import tensor_types
from pssdet.errors import BadInput

__all__ = ["plugin_graph", "typed_half", "unsupported"]


def plugin_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float32 graph for TensorRT, as a new model of opset 17 without functions.

    Inputs, outputs and the tensors between stages keep their names; so do nodes, where a plugin took none over.

    Raises:
        BadInput: something in it has no plugin, is beyond a plugin's limits or cannot be said in opset 17.
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
    lower_opset(rewritten, [PLUGIN_DOMAIN])
    sum_in_float(graph, tensor_types(rewritten))
    prune(graph)
    return rewritten


def _check_names(graph: onnx.GraphProto) -> None:
    """Recipes and engine reports go by the names of nodes."""
    double = [name for name, count in Counter(node.name for node in graph.node).items() if count > 1 or not name]
    if double:
        raise BadInput(f"{len(double)} names of nodes are missing or not unique; export the model with this version")
