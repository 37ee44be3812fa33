"""Half precision as a rewrite: it must really round, and only where it should."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.precision.half import emulate_half, half_region, to_half
from pssdet.engines.precision.recipe import default_recipe


def model_of(nodes, inputs, outputs, parameters=None):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in (parameters or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, **inputs):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in inputs.items()})


def region_of(model, *, emulated):
    return half_region(model.graph, emulated=emulated, recipe=default_recipe("test", model.graph))


def add_and_subtract():
    """(x + 2048) - 2048: half precision has no bits left for a small x."""
    nodes = [
        helper.make_node("Add", ["x", "big"], ["sum"], name="trunk/Add_0"),
        helper.make_node("Sub", ["sum", "big"], ["y"], name="trunk/Sub_1"),
    ]
    return model_of(nodes, {"x": [1]}, {"y": [1]}, {"big": [2048.0]})


def test_float32_keeps_the_small_summand():
    assert run(add_and_subtract(), x=[0.3])[0] == pytest.approx([0.3], abs=1e-3)


def test_emulated_half_rounds_it_away():
    model = add_and_subtract()
    emulate_half(model, region_of(model, emulated=True))
    assert run(model, x=[0.3])[0] == [0.0]


def test_float16_operators_on_a_cpu_would_not_round():
    """Why emulation is needed: if this ever fails, ONNX Runtime's CPU has learnt to round."""
    model = add_and_subtract()
    to_half(model, region_of(model, emulated=False))
    assert run(model, x=[0.3])[0] == pytest.approx([0.3], abs=1e-2)


def test_emulation_rounds_inputs_parameters_and_outputs():
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], name="head/Mul_0")]
    model = model_of(nodes, {"x": [3]}, {"y": [3]}, {"w": [1.0, 3.3333333, 1.0001]})
    emulate_half(model, region_of(model, emulated=True))
    x = np.array([0.1, 0.7, 2.3456789], np.float32)
    weight = np.array([1.0, 3.3333333, 1.0001], np.float16).astype(np.float32)
    expected = (x.astype(np.float16).astype(np.float32) * weight).astype(np.float16)
    np.testing.assert_array_equal(run(model, x=x)[0], expected.astype(np.float32))


def test_nodes_outside_the_region_stay_exact():
    nodes = [helper.make_node("Add", ["x", "big"], ["y"], name="finish/Add_0")]
    model = model_of(nodes, {"x": [1]}, {"y": [1]}, {"big": [2048.0]})
    before = model.SerializeToString()
    emulate_half(model, region_of(model, emulated=True))
    assert model.SerializeToString() == before


def test_a_parameter_used_on_both_sides_is_rounded_on_one_only():
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["inside"], name="trunk/Mul_0"),
        helper.make_node("Mul", ["x", "w"], ["outside"], name="finish/Mul_0"),
    ]
    model = model_of(nodes, {"x": [1]}, {"inside": [1], "outside": [1]}, {"w": [1.0001]})
    emulate_half(model, region_of(model, emulated=True))
    inside, outside = run(model, x=[1.0])
    assert inside == [1.0]
    assert outside == [np.float32(1.0001)]


def test_overflow_becomes_visible():
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], name="trunk/Mul_0")]
    model = model_of(nodes, {"x": [1]}, {"y": [1]}, {"w": [300.0]})
    emulate_half(model, region_of(model, emulated=True))
    assert run(model, x=[300.0])[0] == [np.inf]


def deformable():
    """A DCNv2 layer as the export writes it, 1 channel, 4x4."""
    nodes = [
        helper.make_node("Conv", ["x", "wo", "bo"], ["raw"], name="trunk/Conv_0", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["raw", "sizes"], ["offset", "logit"], name="trunk/Split_1", axis=1),
        helper.make_node("Sigmoid", ["logit"], ["mask"], name="trunk/Sigmoid_2"),
        helper.make_node(
            "DeformConv", ["x", "w", "offset", "b", "mask"], ["c"], name="trunk/DeformConv_3", pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c"], ["c2"], name="trunk/Relu_4"),
    ]
    generator = np.random.default_rng(0)
    parameters = {
        "wo": generator.normal(0, 0.3, (27, 1, 3, 3)),
        "bo": generator.normal(0, 0.5, 27),
        "w": generator.normal(0, 0.3, (1, 1, 3, 3)),
        "b": [0.1],
    }
    model = model_of(nodes, {"x": [1, 1, 4, 4]}, {"c2": [1, 1, 4, 4]}, parameters)
    model.graph.initializer.append(numpy_helper.from_array(np.array([18, 9]), "sizes"))
    return model


def test_offsets_and_masks_stay_in_float32():
    model = deformable()
    assert region_of(model, emulated=True) == {"trunk/DeformConv_3", "trunk/Relu_4"}
    assert region_of(model, emulated=False) == {"trunk/Relu_4"}
    emulate_half(model, region_of(model, emulated=True))
    casts = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    assert casts.isdisjoint({"raw", "offset", "logit", "mask"})
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    np.testing.assert_array_equal(weights["w"], weights["w"].astype(np.float16))
    assert (weights["wo"] != weights["wo"].astype(np.float16)).any()


@pytest.mark.parametrize("rewrite", [emulate_half, to_half])
def test_a_deformable_layer_stays_close(rewrite):
    x = np.random.default_rng(1).normal(0, 1, (1, 1, 4, 4))
    expected = run(deformable(), x=x)[0]
    model = deformable()
    rewrite(model, region_of(model, emulated=rewrite is emulate_half))
    obtained = run(model, x=x)[0]
    np.testing.assert_allclose(obtained, expected, rtol=0, atol=5e-3)
    if rewrite is emulate_half:
        np.testing.assert_array_equal(obtained, obtained.astype(np.float16))
        assert (obtained != expected).any()


def test_half_stores_half_parameters_and_keeps_stage_types():
    model = deformable()
    model.graph.node.append(helper.make_node("Relu", ["c2"], ["p2"], name="trunk/Relu_5"))
    model.graph.node.append(helper.make_node("Identity", ["p2"], ["out"], name="finish/Identity_0"))
    model.graph.output[0].name = "out"
    to_half(model, region_of(model, emulated=False))
    onnx.checker.check_model(model, full_check=True)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    assert types["p2"] == TensorProto.FLOAT
    assert types["p2:half"] == TensorProto.FLOAT16


@pytest.mark.parametrize("rewrite", [emulate_half, to_half])
def test_shapes_and_axes_are_not_data(rewrite):
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["u"], name="trunk/Unsqueeze_0"),
        helper.make_node("Resize", ["u", "", "scales"], ["r"], name="trunk/Resize_1", mode="nearest"),
        helper.make_node("Reshape", ["r", "shape"], ["y"], name="trunk/Reshape_2"),
    ]
    model = model_of(nodes, {"x": [1, 2, 2]}, {"y": [16]}, {"scales": [1.0, 1.0, 2.0, 2.0]})
    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([16]), "shape"))
    rewrite(model, region_of(model, emulated=True))
    assert set(run(model, x=[[[0.1, 0.2], [0.3, 0.4]]])[0]) == set(np.array([0.1, 0.2, 0.3, 0.4], np.float16))
