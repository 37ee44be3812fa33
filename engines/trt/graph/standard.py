"""Standard operators as every TensorRT parser from 8.6 on takes them: constants folded, opset 17.

TensorRT 8.6's parser knows operators up to opset 17 and reads later ones as if they were older.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.precision.half import cast, parameters_of, replace_nodes
from pssdet.engines.trt.graph.plugins import attributes_of
from pssdet.engines.trt.graph.types import opset_of
from pssdet.errors import BadInput

OPSET = 17
IR_VERSION = 8

#: Attributes that later opsets added and that say nothing there: what they ask for is how opset 17 does it anyway.
_REDUNDANT = {"Split": {"num_outputs"}}


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
    """Remove the empty region that converters give to Resize, in place: it is optional, empty weights are invalid."""
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
    """Whether a node may be folded: it makes no random numbers and runs no graph of its own.

    Only shapes and small numbers are constant in these models. Weights in int8 stay so: TensorRT finds an integer layer
    by the DequantizeLinear in front of it.
    """
    return not node.op_type.startswith("Random") and node.op_type not in {"If", "Loop", "Scan", "DequantizeLinear"}


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
                f"{node.op_type} {node.name} has {name}={values[name]}, which ONNX opset {OPSET} cannot say;"
                " TensorRT 8.6 reads no later one"
            )
        node.attribute.remove(next(attribute for attribute in node.attribute if attribute.name == name))


def _is_default(schema: onnx.defs.OpSchema, name: str, value: object) -> bool:
    """Whether an attribute has its default; for the dilations of pooling, which have none, that means ones."""
    default = helper.get_attribute_value(schema.attributes[name].default_value)
    if isinstance(default, bytes):
        default = default.decode()
    if name == "dilations":
        return set(value) <= {1} if isinstance(value, list) else False
    return bool(value == default)
