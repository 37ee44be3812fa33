"""Activations behind a Relu get the levels that their missing sign leaves free; all others stay."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.ov.unsigned import with_unsigned_activations

LARGEST = 4.0


@pytest.fixture(scope="module")
def model():
    """Rounded: a Relu's result, its pooled form, and the input, which has a sign."""

    def rounded(name):
        scale = f"{name}:scale"
        return [
            helper.make_node("QuantizeLinear", [name, scale, "zero"], [f"{name}:int8"]),
            helper.make_node("DequantizeLinear", [f"{name}:int8", scale, "zero"], [f"{name}:back"]),
        ]

    nodes = [
        *rounded("x"),
        helper.make_node("Relu", ["x"], ["relu"]),
        *rounded("relu"),
        helper.make_node("MaxPool", ["relu:back"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        *rounded("pooled"),
        helper.make_node("DequantizeLinear", ["w", "w:scale", "zero"], ["weights"]),
    ]
    parameters = {
        "zero": np.zeros((), np.int8),
        "w": np.int8([-127, 127]),
        "w:scale": np.float32(0.5),
        **{f"{name}:scale": np.float32(LARGEST / 127) for name in ("x", "relu", "pooled")},
    }
    graph = helper.make_graph(
        nodes,
        "rounded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, None, None])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("x:back", "relu:back", "pooled:back", "weights")
        ],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def test_what_has_no_sign_is_rounded_twice_as_finely(model):
    x = np.linspace(-LARGEST, LARGEST, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    before, after = run(model, x), run(with_unsigned_activations(model), x)
    relu = np.maximum(x, 0)
    assert 0.4 * LARGEST / 127 < np.abs(before[1] - relu).max() <= 0.5 * LARGEST / 127
    assert np.abs(after[1] - relu).max() <= 0.501 * LARGEST / 255
    pooled = relu.reshape(1, 1, 4, 2, 4, 2).max(axis=(3, 5))
    assert np.abs(after[2] - pooled).max() <= 1.01 * LARGEST / 255
    for untouched in (0, 3):
        np.testing.assert_array_equal(after[untouched], before[untouched])


def test_the_largest_value_stays(model):
    x = np.full((1, 1, 2, 2), 3 * LARGEST, np.float32)
    for outputs in (run(model, x), run(with_unsigned_activations(model), x)):
        np.testing.assert_allclose(outputs[1], LARGEST, rtol=1e-6)


def test_the_given_model_is_untouched(model):
    before = model.SerializeToString()
    with_unsigned_activations(model)
    assert model.SerializeToString() == before
