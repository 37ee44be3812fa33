"""Element types of every tensor of a graph, by ONNX's own type constraints and the plugins' contracts.

ONNX's shape inference stops at unknown operators; this goes on, and refuses contradictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from pssdet.engines.trt.graph.plugins import DOMAIN, PLUGINS, attributes_of
from pssdet.errors import BadInput

Types = dict[str, int]

_UNDEFINED: int = TensorProto.UNDEFINED
#: These take half data from opset 19 on; TensorRT's parsers of typed networks do in any opset.
_ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})
_HALF_SCALES = 19


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a model declares; 0 if none."""
    return next((entry.version for entry in model.opset_import if not entry.domain), 0)


def type_name(value: int) -> str:
    """ONNX's name of an element type."""
    return str(TensorProto.DataType.Name(value))


def tensor_types(model: onnx.ModelProto) -> Types:
    """The element type, a ``TensorProto`` constant, of every tensor by its name.

    Raises:
        BadInput: types of a node's inputs do not go together, or an output has another type.
    """
    graph = model.graph
    opset = opset_of(model)
    types: Types = {"": _UNDEFINED}
    types |= {value.name: value.type.tensor_type.elem_type for value in graph.input}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        unknown = [name for name in node.input if name not in types]
        if unknown:
            raise BadInput(f"{node.op_type} {node.name} reads {unknown[0]}, which nothing before it makes")
        inputs = [types[name] for name in node.input]
        outputs = _plugin(node, inputs) if node.domain == DOMAIN else _standard(node, inputs, opset)
        types |= dict(zip(node.output, outputs, strict=False))
    for value in graph.output:
        declared = value.type.tensor_type.elem_type
        if declared and types.get(value.name) != declared:
            found = types.get(value.name)
            raise BadInput(f"output {value.name} is declared {type_name(declared)}, the graph makes {found}")
    return types


def _plugin(node: onnx.NodeProto, inputs: list[int]) -> list[int]:
    plugin = PLUGINS.get(node.op_type)
    if plugin is None:
        raise BadInput(f"{node.op_type} {node.name} is no plugin of this project")
    attributes = attributes_of(node)
    data = inputs[0] if inputs else _UNDEFINED
    expected = [tensor.type_in(attributes, data) for tensor in plugin.inputs_of(node)]
    if data not in {TensorProto.FLOAT, TensorProto.FLOAT16} or inputs != expected:
        raise _mismatch(node, inputs)
    return [tensor.type_in(attributes, data) for tensor in plugin.outputs]


def _standard(node: onnx.NodeProto, inputs: list[int], opset: int) -> list[int]:
    if node.op_type in _ROUNDING:
        opset = max(opset, _HALF_SCALES)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError as error:
        raise BadInput(f"{node.op_type} {node.name} is not an operator of opset {opset}") from error
    if node.op_type == "Cast":
        return [int(attributes_of(node)["to"])]
    if node.op_type == "Constant":
        return [attributes_of(node)["value"].data_type]
    allowed = {entry.type_param_str: set(entry.allowed_type_strs) for entry in schema.type_constraints}
    bound: dict[str, int] = {}
    for position, (name, found) in enumerate(zip(node.input, inputs, strict=True)):
        parameter = _parameter(schema.inputs, position)
        if not name:
            continue
        if parameter is None:
            raise _mismatch(node, inputs)
        kind = parameter.type_str
        if _type_string(found) not in allowed.get(kind, {kind}):
            raise _mismatch(node, inputs)
        homogeneous = parameter.is_homogeneous
        if homogeneous and bound.setdefault(kind, found) != found:
            raise _mismatch(node, inputs)
    return [_output(schema.outputs, position, bound) for position in range(len(node.output))]


def _parameter(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], position: int
) -> onnx.defs.OpSchema.FormalParameter | None:
    """The schema's parameter at a position; the last may stand for many."""
    if position < len(parameters):
        return parameters[position]
    last = parameters[-1] if parameters else None
    return last if last and last.option == onnx.defs.OpSchema.FormalParameterOption.Variadic else None


def _output(
    parameters: Sequence[onnx.defs.OpSchema.FormalParameter], position: int, bound: dict[str, int]
) -> int:
    parameter = _parameter(parameters, position)
    if parameter is None:
        return _UNDEFINED
    if parameter.type_str in bound:
        return bound[parameter.type_str]
    # A fixed type ("tensor(int64)"), or a constraint with a single member ("tensor(bool)").
    names: dict[str, int] = {_type_string(value): value for value in TensorProto.DataType.values()}
    fixed = [names[each] for each in sorted(parameter.types) if each in names]
    return fixed[0] if len(fixed) == 1 else _UNDEFINED


def _mismatch(node: onnx.NodeProto, inputs: list[int]) -> BadInput:
    found = ", ".join(
        f"{name} {type_name(kind)}" for name, kind in zip(node.input, inputs, strict=True) if name
    )
    return BadInput(f"{node.op_type} {node.name} cannot take these types together: {found}")


def _type_string(value: int) -> str:
    return f"tensor({type_name(value).lower()})"
