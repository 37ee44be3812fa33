"""Models without their large parameters, and the same parameters again."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.errors import BadInput
from pssdet.validation.gpu_check.seeded_weights import LARGE, draw, parameters_hash, seed_weights, strip_weights


@pytest.fixture
def model():
    rng = np.random.RandomState(0)
    parameters = {
        "conv.weight": (0.05 * rng.standard_normal((16, 16, 3, 3)) + 0.01).astype(np.float32),
        "conv.bias": rng.standard_normal(16).astype(np.float32),
        "large.integers": np.arange(LARGE + 1, dtype=np.int64),
    }
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def values_of(model, name):
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


def test_values_are_the_same_on_every_machine():
    """A change of these values makes every bundle another: pack again."""
    values = draw("backbone.conv1.weight", (3, 5, 7), 0.25, 0.5)
    assert hashlib.sha256(values.tobytes()).hexdigest().startswith("20475ac2a5f05514")
    assert values.dtype == np.float32


def test_mean_and_spread():
    values = draw("any", (200, 300), -0.5, 0.125)
    assert abs(values.mean() + 0.5) < 2e-3
    assert abs(values.std() - 0.125) < 1e-3
    assert abs(np.abs(values + 0.5).max() - 0.125 * 3**0.5) < 1e-4  # uniform
    assert not np.array_equal(values, draw("other", (200, 300), -0.5, 0.125))


def test_a_skeleton_is_small_and_filled_again(model, tmp_path):
    path = tmp_path / "stripped.onnx"
    onnx.save(strip_weights(model), path)
    assert path.stat().st_size < len(model.SerializeToString()) / 2 + 8 * LARGE
    first, second = (seed_weights(onnx.load(path)) for _ in range(2))
    assert parameters_hash(first) == parameters_hash(second)
    weight = values_of(first, "conv.weight")
    assert weight.shape == (16, 16, 3, 3)
    assert abs(weight.std() - values_of(model, "conv.weight").std()) < 2e-3
    assert not np.array_equal(weight, values_of(model, "conv.weight"))
    for name in ("conv.bias", "large.integers"):  # small, or no float32: as they were
        np.testing.assert_array_equal(values_of(first, name), values_of(model, name))


def test_both_sides_compute_the_same(model, tmp_path):
    path = tmp_path / "stripped.onnx"
    travelling = strip_weights(model)
    onnx.save(travelling, path)
    x = np.random.RandomState(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    outputs = []
    for whole in (seed_weights(travelling), seed_weights(onnx.load(path))):
        session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"x": x})[0])
    np.testing.assert_array_equal(*outputs)


def test_other_parameters_are_noticed(model):
    altered = strip_weights(model)
    bias = next(tensor for tensor in altered.graph.initializer if tensor.name == "conv.bias")
    bias.CopyFrom(numpy_helper.from_array(np.zeros(16, np.float32), "conv.bias"))
    with pytest.raises(BadInput, match="pack it again"):
        seed_weights(altered)


def test_a_whole_model_stays_as_it_is(model):
    assert seed_weights(model) is model
