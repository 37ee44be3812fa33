"""A model with plain convolutions in place of deformable ones."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.no_dcn import without_dcn


def deformable():
    rng = np.random.RandomState(0)
    parameters = {
        "w": rng.standard_normal((6, 4, 3, 3)),
        "b": rng.standard_normal(6),
        "offset.w": np.zeros((18, 4, 3, 3)),
        "mask.w": np.zeros((9, 4, 3, 3)),
    }
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "offset.w"], ["offset"], name="trunk/Conv_0", **padded),
        helper.make_node("Conv", ["x", "mask.w"], ["logit"], name="trunk/Conv_1", **padded),
        helper.make_node("Sigmoid", ["logit"], ["mask"], name="trunk/Sigmoid_2"),
        helper.make_node(
            "DeformConv", ["x", "w", "offset", "b", "mask"], ["d"], name="trunk/D", offset_group=1, **padded
        ),
        helper.make_node("Relu", ["d"], ["y"], name="trunk/Relu_4"),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 5, 5])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_without_offsets_and_with_equal_masks_plain_convolutions_differ_by_the_mask_alone():
    model = deformable()
    plain = without_dcn(model)
    bias = next(tensor for tensor in plain.graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(bias), "b"))
    x = np.random.RandomState(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    # Masks are sigmoid(0): the deformable one gives half of the products, all of the bias.
    np.testing.assert_allclose(run(model, x), run(plain, x) / 2, rtol=1e-5, atol=1e-5)


def test_predictors_are_gone_and_the_model_is_untouched():
    model = deformable()
    before = model.SerializeToString()
    plain = without_dcn(model)
    assert model.SerializeToString() == before
    assert [(node.op_type, node.name) for node in plain.graph.node] == [
        ("Conv", "trunk/D"),
        ("Relu", "trunk/Relu_4"),
    ]
    assert [tensor.name for tensor in plain.graph.initializer] == ["w", "b"]
    onnx.checker.check_model(plain, full_check=True)
