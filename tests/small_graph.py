"""A plugin graph small enough to know by heart: a stem, a deformable layer with predictor, a stage, a sum."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

STEM, PREDICTOR, DEFORM, SUM = "trunk/stem", "trunk/predictor", "trunk/deform", "sum"


def exported():
    """As the export has it, with a standard DeformConv of opset 19."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["x"], STEM, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "w1"], ["offset"], PREDICTOR, pads=[1, 1, 1, 1]),
        helper.make_node("DeformConv", ["x", "w2", "offset"], ["c2"], DEFORM, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c2"], ["pooled"], SUM),
        helper.make_node("Flatten", ["pooled"], ["boxes"], "flatten"),
    ]
    shapes = {"w0": (16, 3, 3, 3), "w1": (18, 16, 3, 3), "w2": (16, 16, 3, 3)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"]),
            helper.make_tensor_value_info("image_size", TensorProto.FLOAT, ["N", 2]),
        ],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 16])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
