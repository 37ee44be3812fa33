"""Floating-point operations of a model's convolutions, for the proof of an engine's precision."""

from __future__ import annotations

from math import prod

import onnx

from pssdet.engines.trt.plan.profiles import Shape, input_shape
from pssdet.errors import GateFailed

_CONVOLUTIONS = ("Conv", "DeformConv")


def convolution_flops(model: onnx.ModelProto, shape: Shape) -> dict[str, int]:
    """Operations of each convolution, deformable ones included, by the node's name, for a batch (N, H, W).

    Two operations per multiply-accumulate: 2 N Ho Wo O (C / groups) kh kw, the weights being
    [O, C / groups, kh, kw]. Offsets, interpolation and bias are not counted.

    Args:
        model: the exported model; left as it is.

    Raises:
        GateFailed: a convolution's size cannot be worked out.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for tensor in sized.graph.input:
        for dimension, size in zip(tensor.type.tensor_type.shape.dim, input_shape(tensor.name, shape), strict=True):
            dimension.dim_value = size
    weights = {tensor.name: tuple(tensor.dims) for tensor in sized.graph.initializer}
    _drop_values(sized)
    known = onnx.shape_inference.infer_shapes(sized).graph.value_info
    shapes = {value.name: [each.dim_value for each in value.type.tensor_type.shape.dim] for value in known}
    flops = {}
    for node in model.graph.node:
        if node.op_type in _CONVOLUTIONS:
            output = shapes.get(node.output[0], [])
            if len(output) != 4 or not all(output) or node.input[1] not in weights:
                raise GateFailed(f"the size of convolution {node.name} cannot be worked out; export the model again")
            flops[node.name] = 2 * prod(output) * prod(weights[node.input[1]][1:])
    return flops


def _drop_values(model: onnx.ModelProto) -> None:
    """Leave out what only describes: stored shapes are of dynamic dimensions and would be believed."""
    del model.graph.value_info[:]
