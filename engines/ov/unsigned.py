"""Rounded activations that are never negative, in unsigned 8 bits, for OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pssdet.engines.precision.calibration import LEVELS

if TYPE_CHECKING:
    import onnx

#: Levels above zero of an unsigned byte.
UNSIGNED_LEVELS = 255

#: Operators whose results are never negative, and those whose results are not if their first input is not.
_NON_NEGATIVE = frozenset({"Relu", "Sigmoid"})
_KEEPS_SIGN = frozenset({"AveragePool", "DequantizeLinear", "MaxPool", "QuantizeLinear"})
_ZERO = "quantise:unsigned_zero"


def with_unsigned_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model of ``quantise`` with twice the levels for what comes from a Relu.

    Tensors keep the largest value that they can hold. TensorRT takes signed integers with zero point 0 only.
    The kernels of a CPU multiply unsigned activations by signed weights, so that OpenVINO has to shift signed
    ones by 128 and, where a residual addition reads them, to shift them back.
    """
    import onnx
    from onnx import numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    positive: set[str] = set()
    unsigned: set[str] = set()
    for node in graph.node:
        if node.op_type in _NON_NEGATIVE or (node.op_type in _KEEPS_SIGN and node.input[0] in positive):
            positive.update(node.output)
        if node.op_type == "QuantizeLinear" and node.input[0] in positive:
            scale = parameters[node.input[1]]
            wide = numpy_helper.to_array(scale) * np.float32(LEVELS / UNSIGNED_LEVELS)
            scale.CopyFrom(numpy_helper.from_array(wide, scale.name))
            unsigned.update(node.output)
            node.input[2] = _ZERO
        elif node.op_type == "DequantizeLinear" and node.input[0] in unsigned:
            node.input[2] = _ZERO
    if unsigned:
        graph.initializer.append(numpy_helper.from_array(np.zeros((), np.uint8), _ZERO))
    return result
