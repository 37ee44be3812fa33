"""Operations of a detector's convolutions, by which a build says how much of the work has a precision."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from pssdet.engines.input_shapes import BatchSize, input_shape
from pssdet.errors import GateFailed

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS = ("Conv", "DeformConv")


def convolution_flops(model: onnx.ModelProto, size: BatchSize) -> dict[str, int]:
    """Operations of each convolution, deformable or not, by the node's name, for a batch.

    2 N Ho Wo O (C / groups) kh kw, for weights [O, C / groups, kh, kw] and two operations per
    multiply-accumulate. Offsets, interpolation and bias are not counted.

    Raises:
        GateFailed: a convolution's output size is unknown.
    """
    import onnx

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
                raise GateFailed(
                    f"the size of convolution {node.name} cannot be worked out; export the model again"
                )
            flops[node.name] = 2 * prod(output) * prod(weights[node.input[1]][1:])
    return flops
