"""The graph with Q/DQ pairs: structure, arithmetic, and whether its proof notices wrong numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.precision.calibration import calibrate, range_of
from pssdet.engines.precision.quantise import place_qdq, quantise, round_weights
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import sample_batches
from pssdet.models.stages import INT8, compare, first_broken, tap_names


@pytest.fixture(scope="module")
def card(mini_folder):
    return read_model_card(mini_folder)


@pytest.fixture(scope="module")
def model(mini_folder):
    return onnx.load(mini_folder / "model.onnx")


@pytest.fixture(scope="module")
def ranges(mini_folder, card, model, calibration_scenes):
    tensors = place_qdq(model.graph).activations
    histograms, count = calibrate(
        mini_folder / "model.onnx", card.preprocessing, calibration_scenes, tensors, lambda _: None
    )
    assert count == len(list(calibration_scenes.glob("*.jpg")))
    return {name: range_of(histogram, "entropy") for name, histogram in histograms.items()}


@pytest.fixture
def stages(card, tmp_path):
    """The stages of a model on the bundled picture."""

    def run(model):
        onnx.save(model, tmp_path / "model.onnx")
        _, inputs = next(sample_batches(card.preprocessing))
        return OnnxRuntimeSession(tmp_path / "model.onnx", tap_names(card.architecture), cuda=False).run(inputs)

    return run


def test_weights_are_rounded_per_channel():
    values = np.array([[1.0, -0.5, 0.1], [0.0, 0.0, 0.0], [-50.0, 25.0, 1e-3]], np.float32)
    integers, scales = round_weights(values, 0)
    assert integers.dtype == np.int8
    np.testing.assert_array_equal(integers, [[127, -64, 13], [0, 0, 0], [-127, 64, 0]])
    np.testing.assert_allclose(scales, [1 / 127, 1, 50 / 127])
    transposed, same = round_weights(values.T.copy(), 1)
    np.testing.assert_array_equal(transposed, integers.T)
    np.testing.assert_array_equal(same, scales)


def test_one_layer_is_the_arithmetic_of_integers(tmp_path):
    """What the graph gives, against sums of integers in NumPy."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="trunk/Relu_0"),
        helper.make_node("Conv", ["r", "w", "b"], ["y"], name="trunk/Conv_1"),
        helper.make_node("Relu", ["y"], ["out"], name="trunk/Relu_2"),
    ]
    generator = np.random.default_rng(0)
    weights, bias = (
        generator.normal(0, 1, (5, 3, 1, 1)).astype(np.float32),
        np.float32(generator.normal(0, 1, 5)),
    )
    parameters = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 5, 4, 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    quantised = quantise(model, {"r": 2.0}, place_qdq(model.graph))
    onnx.save(quantised, tmp_path / "m.onnx")
    x = generator.normal(0, 1.5, (1, 3, 4, 4)).astype(np.float32)
    obtained = OnnxRuntimeSession(tmp_path / "m.onnx", (), cuda=False).run({"x": x})["out"]
    integers, scales = round_weights(weights, 0)
    step = np.float32(2.0 / 127)
    rounded = np.clip(np.rint(np.maximum(x, 0) / step), -128, 127).astype(np.int64)
    assert rounded.max() == 127  # something was cut off
    sums = np.einsum("oc,chw->ohw", integers[:, :, 0, 0].astype(np.int64), rounded[0])
    expected = np.maximum(sums * (scales * step)[:, None, None] + bias[:, None, None], 0)
    np.testing.assert_allclose(obtained[0], expected, atol=1e-5)


def test_names_and_types_of_the_graph(model, ranges):
    placement = place_qdq(model.graph)
    quantised = quantise(model, ranges, placement)
    onnx.checker.check_model(quantised, full_check=True)
    before = {name for node in model.graph.node for name in (node.name, *node.output)}
    after = {name for node in quantised.graph.node for name in (node.name, *node.output)}
    assert before <= after
    assert [out.name for out in quantised.graph.output] == [out.name for out in model.graph.output]
    parameters = {tensor.name: tensor for tensor in quantised.graph.initializer}
    producers = {name: node for node in quantised.graph.node for name in node.output}
    for node in quantised.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = numpy_helper.to_array(parameters[node.input[2]])
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.name in placement.layers:
            assert {producers[name].op_type for name in node.input[:2]} == {"DequantizeLinear"}
            weights = producers[node.input[1]]
            axis = {"Conv": 0, "MatMul": 1}[node.op_type]
            assert weights.attribute[0].i == axis
            integers = parameters[weights.input[0]]
            assert integers.data_type == TensorProto.INT8
            assert list(parameters[weights.input[1]].dims) == [integers.dims[axis]]
            if len(node.input) > 2:
                assert parameters[node.input[2]].data_type == TensorProto.FLOAT
    deformable = [node for node in quantised.graph.node if node.op_type == "DeformConv"]
    assert all(producers[node.input[0]].op_type == "Relu" for node in deformable)
    assert quantised.ByteSize() < 0.5 * model.ByteSize()


def test_calibration_is_the_same_every_time(mini_folder, card, model, ranges, calibration_scenes):
    tensors = place_qdq(model.graph).activations
    again, _ = calibrate(
        mini_folder / "model.onnx", card.preprocessing, calibration_scenes, tensors, lambda _: None
    )
    assert {name: range_of(histogram, "entropy") for name, histogram in again.items()} == ranges


def test_the_proof_passes(card, model, ranges, stages):
    records = compare(
        "int8", card.architecture, stages(model), stages(quantise(model, ranges, place_qdq(model.graph))), INT8
    )
    assert first_broken(records) == ""
    assert max(record.difference for record in records if record.unit == "relative") > 0.01  # it is 8 bits


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_the_proof_notices_wrong_ranges(card, model, ranges, stages, factor):
    wrong = quantise(model, {name: factor * value for name, value in ranges.items()}, place_qdq(model.graph))
    assert first_broken(compare("int8", card.architecture, stages(model), stages(wrong), INT8))


def test_the_proof_notices_a_wrong_scale_of_weights(card, model, ranges, stages):
    wrong = quantise(model, ranges, place_qdq(model.graph))
    scales = next(
        tensor for tensor in wrong.graph.initializer if tensor.name.endswith("branch2c.conv.weight:scale")
    )
    values = numpy_helper.to_array(scales)
    scales.CopyFrom(numpy_helper.from_array(np.full_like(values, values.max()), scales.name))
    assert first_broken(compare("int8", card.architecture, stages(model), stages(wrong), INT8))
