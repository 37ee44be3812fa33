"""Floating-point operations of a model's convolutions, for the proof of an engine's precision."""

from __future__ import annotations

from math import prod

import onnx

from pssdet.engines.trt.plan.profiles import BatchSize, input_shape
from pssdet.errors import GateFailed

_CONVOLUTIONS = ("Conv", "DeformConv")


def convolution_flops(model: onnx.ModelProto, size: BatchSize) -> dict[str, int]:
    """Operations of each convolution, deformable ones included, by the node's name, for a batch of this size.

    Two operations per multiply-accumulate: 2 N Ho Wo O (C / groups) kh kw, the weights being
    [O, C / groups, kh, kw]. Offsets, interpolation and bias are not counted.

    Args:
        model: the exported model; left as it is.

    Raises:
        GateFailed: a convolution's output size is unknown.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for tensor in sized.graph.input:
        shape = input_shape(tensor.name, size)
        for dimension, side in zip(tensor.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = side
    weights = {tensor.name: tuple(tensor.dims) for tensor in sized.graph.initializer}
    # Stored shapes have dynamic dimensions, which the inference would believe.
    del sized.graph.value_info[:]
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
