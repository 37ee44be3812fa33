"""ONNX graphs written as Python arithmetic.

A ``Tracer`` records a node for every operator applied to its ``Value``s. Loops over pyramid
levels unroll while tracing, so a function's body is straight-line standard operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 19
IR_VERSION = 9
DOMAIN = "pssdet"


@dataclass(frozen=True)
class AttributeRef:
    """Stands for an attribute of the function being traced, inside a node's attributes."""

    name: str
    kind: int


@dataclass
class Tracer:
    """Records nodes named with ``prefix``; of the function's ``attributes`` only names and kinds count."""

    prefix: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    _constants: dict[object, Value] = field(default_factory=dict)

    def op(self, op_type: str, *inputs: Operand, domain: str = "", name: str = "", **attributes: Any) -> Value:
        """Record a node and return its one output, called ``name`` if that is given.

        An attribute may be an ``AttributeRef``, which hands on a function's attribute.
        """
        return self.op_n(op_type, *inputs, outputs=[name] if name else 1, domain=domain, **attributes)[0]

    def op_n(
        self, op_type: str, *inputs: Operand, outputs: int | Sequence[str], domain: str = "", **attributes: Any
    ) -> list[Value]:
        """Record a node with several outputs, given by count or by name."""
        index = len(self.nodes)
        node_name = f"{self.prefix}{op_type}_{index}"
        if isinstance(outputs, int):
            outputs = [f"{node_name}_{i}" if i else node_name for i in range(outputs)]
        names = [self._name_of(x) for x in inputs]  # may record Constant nodes first
        plain = {key: value for key, value in attributes.items() if not isinstance(value, AttributeRef)}
        node = helper.make_node(op_type, names, list(outputs), name=node_name, domain=domain, **plain)
        for key, value in attributes.items():
            if isinstance(value, AttributeRef):
                node.attribute.append(onnx.AttributeProto(name=key, type=value.kind, ref_attr_name=value.name))
        self.nodes.append(node)
        return [Value(self, output) for output in outputs]

    def constant(self, values: Any, dtype: Any = None) -> Value:
        """A tensor; by default Python floats become float32 and Python integers int64."""
        array = np.asarray(values, dtype)
        if dtype is None:
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        # value=tensor, not value_float(s): optimisers are known to turn the short forms into double.
        key = (array.dtype, array.shape, array.tobytes())
        return self._once(key, {"value": numpy_helper.from_array(array)})

    def ref(self, name: str) -> AttributeRef:
        """An attribute of the function, to be handed on to a node."""
        return AttributeRef(name, helper.make_attribute(name, self.attributes[name]).type)

    def attribute(self, name: str) -> Value:
        """A function's attribute as a tensor: a scalar, or one-dimensional for lists."""
        ref = self.ref(name)
        kind = onnx.AttributeProto.AttributeType.Name(ref.kind).lower()
        return self._once(ref, {f"value_{kind}": ref})

    def value(self, name: str) -> Value:
        """An input, or any tensor by name."""
        return Value(self, name)

    def _once(self, key: object, attributes: dict[str, Any]) -> Value:
        """The Constant node of that key, recorded at its first use."""
        if key not in self._constants:
            self._constants[key] = self.op("Constant", **attributes)
        return self._constants[key]

    def _name_of(self, operand: Operand) -> str:
        return operand.name if isinstance(operand, Value) else self.constant(operand).name


def _binary(op_type: str) -> Callable[[Value, Operand], Value]:
    def record(self: Value, other: Operand) -> Value:
        return self.tracer.op(op_type, self, other)

    return record


@dataclass(frozen=True)
class Value:
    """A tensor of a graph under construction; Python operators record ONNX operators."""

    tracer: Tracer
    name: str

    __add__ = _binary("Add")
    __sub__ = _binary("Sub")
    __mul__ = _binary("Mul")
    __truediv__ = _binary("Div")  # of integers it truncates
    __ge__ = _binary("GreaterOrEqual")
    __gt__ = _binary("Greater")
    __lt__ = _binary("Less")
    __and__ = _binary("And")
    at_most = _binary("Min")
    at_least = _binary("Max")

    def reshape(self, *shape: int) -> Value:
        """0 keeps a dimension of the input, -1 takes what is left."""
        return self.tracer.op("Reshape", self, list(shape))

    def scalar(self) -> Value:
        """A tensor of one element without its dimensions."""
        return self.tracer.op("Squeeze", self)

    def transpose(self, *axes: int) -> Value:
        """Axes in a new order."""
        return self.tracer.op("Transpose", self, perm=list(axes))

    def unsqueeze(self, axis: int) -> Value:
        """A new axis of size 1."""
        return self.tracer.op("Unsqueeze", self, [axis])

    def cast(self, dtype: int) -> Value:
        """Another element type, a ``TensorProto`` constant."""
        return self.tracer.op("Cast", self, to=dtype)

    def dim(self, axis: int) -> Value:
        """Size of one dimension, int64 [1]."""
        return self.tracer.op("Shape", self, start=axis, end=axis + 1)

    def split(self, parts: int, axis: int = -1) -> list[Value]:
        """Equal parts along an axis, which stays."""
        return self.tracer.op_n("Split", self, outputs=parts, axis=axis, num_outputs=parts)

    def rows(self, indices: Value) -> Value:
        """[N, M, ...] and indices [N, K] to [N, K, ...]: other rows for every batch entry."""
        return self.tracer.op("GatherND", self, indices.unsqueeze(-1), batch_dims=1)


Operand = Value | float | list[float] | list[int] | np.ndarray


def concat(values: Sequence[Value], axis: int) -> Value:
    """Tensors one after the other along an axis."""
    return values[0].tracer.op("Concat", *values, axis=axis)


def where(condition: Value, yes: Operand, no: Operand) -> Value:
    """Elementwise choice; unlike a multiplication it stops NaN."""
    return condition.tracer.op("Where", condition, yes, no)


def top_k(values: Value, count: Value) -> tuple[Value, Value]:
    """Largest values and their indices along the last axis; equal values keep their order."""
    largest, indices = values.tracer.op_n("TopK", values, count.reshape(1), outputs=2, axis=-1)
    return largest, indices


def function(name: str, tracer: Tracer, inputs: Sequence[Value], outputs: Sequence[str]) -> onnx.FunctionProto:
    """A model-local function in this project's domain from what the tracer recorded."""
    return helper.make_function(
        DOMAIN,
        name,
        [x.name for x in inputs],
        list(outputs),
        tracer.nodes,
        [helper.make_opsetid("", OPSET)],
        attributes=list(tracer.attributes),
    )
