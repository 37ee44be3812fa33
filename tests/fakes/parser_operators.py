"""What TensorRT's ONNX parsers, 8.6 to 11, take: the part of their operator tables that detectors may need.

Source: docs/operators.md of onnx-tensorrt at 8.6 and 10.1; an operator is here if both have it, with the types
that both have. Where 8.6 says INT32 it reads INT64 too, narrowed. Operators whose result's size depends on the
data are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto, numpy_helper

from pssdet.engines.precision.half import parameters_of
from pssdet.engines.trt.graph.plugins import DOMAIN, NAMESPACE, PLUGINS, VERSION, attributes_of
from pssdet.engines.trt.graph.rewrite import OPSET
from pssdet.engines.trt.graph.types import Types, tensor_types, type_name
from pssdet.errors import BadInput

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_NUMBERS = _FLOATS | {TensorProto.INT32, TensorProto.INT64}
_ALL = _NUMBERS | {TensorProto.BOOL}

_OPERATORS: dict[frozenset[int], str] = {
    _FLOATS: "AveragePool BatchNormalization Ceil Clip Conv ConvTranspose Elu Erf Exp Floor Gemm"
    " GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish InstanceNormalization LeakyRelu Log LogSoftmax"
    " MatMul MaxPool PRelu Pow QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"
    " Relu Resize Round Sigmoid Softmax Softplus Sqrt Tanh",
    _NUMBERS: "Abs Add ArgMax ArgMin Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mul Neg Pad"
    " Sub Sum TopK",
    _ALL: "Cast Concat Constant Expand Flatten Gather GatherElements GatherND Identity Reshape Shape Slice"
    " Split Squeeze Tile Transpose Unsqueeze Where",
    frozenset({TensorProto.BOOL}): "And Not Or Xor",
    frozenset({TensorProto.INT8}): "DequantizeLinear",
}
_TYPES = {operator: types for types, operators in _OPERATORS.items() for operator in operators.split()}

#: Inputs that must be known when the engine is built.
_CONSTANT_INPUTS = {
    "Slice": 3,
    "Squeeze": 1,
    "TopK": 1,
    "Unsqueeze": 1,
    **{f"Reduce{kind}": 1 for kind in ("Max", "Mean", "Min", "Prod", "Sum")},
}
_LARGEST_K = 3840
_RESIZE = {
    "mode": {"nearest", "linear"},
    "coordinate_transformation_mode": {
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    },
    "nearest_mode": {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"},
}


def unsupported(model: onnx.ModelProto) -> list[str]:
    """Lists what some TensorRT from 8.6 to 11 would not take of a model, a line for each reason.

    The plugins of this project count as supported.
    """
    found = [
        f"function {function.name}: only parsers from 9.0 on read functions" for function in model.functions
    ]
    found += [
        f"opset {entry.version}: TensorRT 8.6 reads operators as of {OPSET}"
        for entry in model.opset_import
        if not entry.domain and entry.version > OPSET
    ]
    found += [f"{_label(node)}: {reason}" for node in model.graph.node for reason in _unknown(node)]
    if found:
        return found
    try:
        types = tensor_types(model)
    except BadInput as error:
        return [str(error)]
    parameters = parameters_of(model.graph)
    return [
        f"{_label(node)}: {reason}"
        for node in model.graph.node
        if node.domain != DOMAIN
        for reason in _restrictions(node, types, parameters)
    ]


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name}"


def _unknown(node: onnx.NodeProto) -> Iterator[str]:
    if node.domain == DOMAIN:
        attributes = attributes_of(node)
        named = (attributes.get("plugin_namespace"), attributes.get("plugin_version"))
        if node.op_type not in PLUGINS:
            yield "no plugin of this project"
        elif named != (NAMESPACE, VERSION):
            yield f"plugin_namespace and plugin_version are {named}"
        elif not all(node.input) or not all(node.output):
            yield "a plugin's inputs and outputs cannot be left out"
    elif node.domain:
        yield f"an operator of domain {node.domain}"
    elif node.op_type not in _TYPES:
        yield "not an operator that every parser has"


def _restrictions(node: onnx.NodeProto, types: Types, parameters: dict[str, onnx.TensorProto]) -> Iterator[str]:
    data = node.input[1 if node.op_type == "Where" else 0] if node.input else ""
    if data and types[data] not in _TYPES[node.op_type]:
        yield f"its data is {type_name(types[data])}"
    position = _CONSTANT_INPUTS.get(node.op_type, len(node.input))
    if position < len(node.input) and node.input[position] not in parameters:
        yield f"its input {position} is not a constant"
        return
    attributes = attributes_of(node)
    if node.op_type == "TopK":
        if attributes.get("sorted", 1) != 1:
            yield "its result must be sorted"
        if max(numpy_helper.to_array(parameters[node.input[1]]).reshape(-1)) > _LARGEST_K:
            yield f"it takes at most {_LARGEST_K} values"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "its indices are asked for"
    if node.op_type == "Resize":
        for name, known in _RESIZE.items():
            if attributes.get(name) not in {None, *known}:
                yield f"{name} is {attributes[name]}"
