"""Standard operators: what TensorRT 8.6 reads otherwise is written as it reads it, and computes the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from parser_operators import unsupported

from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.errors import BadInput

X = np.random.default_rng(0).normal(0, 1, (2, 4, 6, 6)).astype(np.float32)


def model_of(*nodes, opset=19, parameters=None, y=(TensorProto.FLOAT, 4)):
    """A graph from float32 x [2, 4, 6, 6] to y."""
    for index, node in enumerate(nodes):
        node.name = f"trunk/{node.op_type}_{index}"
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", y[0], list("abcd")[: y[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (parameters or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def run(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.opset_import[1:]
    session = onnxruntime.InferenceSession(copy.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": X})[0]


def rewritten(model):
    """The plugin graph, which computes the same."""
    new = plugin_graph(model)
    assert unsupported(new) == []
    assert new.opset_import[0].version == 17
    assert new.ir_version == 8
    onnx.checker.check_model(new, full_check=True)
    np.testing.assert_allclose(run(new), run(model), rtol=0, atol=1e-6)
    return new


def test_equal_parts_need_no_count():
    split = helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2)
    model = rewritten(model_of(split, helper.make_node("Sub", ["a", "b"], ["y"])))
    assert [each.name for each in model.graph.node[0].attribute] == ["axis"]


@pytest.mark.parametrize(
    ("kind", "given", "left"),
    [
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [1, 1]}, {"kernel_shape"}),
        ("AveragePool", {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}, None),
        ("Cast", {"to": TensorProto.FLOAT, "saturate": 1}, {"to"}),
    ],
)
def test_defaults_that_came_later_are_dropped(kind, given, left):
    model = rewritten(model_of(helper.make_node(kind, ["x"], ["y"], **given)))
    assert {each.name for each in model.graph.node[0].attribute} == (left or set(given))


@pytest.mark.parametrize(
    ("kind", "given", "reason"),
    [
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 1]}, r"dilations=\[2, 1\]"),
        ("Cast", {"to": TensorProto.FLOAT, "saturate": 0}, "saturate=0"),
        ("Resize", {"antialias": 1, "mode": "linear"}, "antialias=1"),
    ],
)
def test_what_opset_17_cannot_say_is_refused(kind, given, reason):
    inputs = ["x", "", "scales"] if kind == "Resize" else ["x"]
    model = model_of(
        helper.make_node(kind, inputs, ["y"], **given), parameters={"scales": np.ones(4, np.float32)}
    )
    with pytest.raises(
        BadInput, match=rf"{kind} trunk/{kind}_0 has {reason}, which ONNX opset 17 cannot express"
    ):
        plugin_graph(model)


def test_later_operators_are_refused():
    model = model_of(helper.make_node("Gelu", ["x"], ["y"]), opset=20)
    with pytest.raises(BadInput, match="Gelu trunk/Gelu_0 is not an operator of ONNX opset 17"):
        plugin_graph(model)


def test_constants_are_folded():
    nodes = (
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.array(3))),
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array([1]))),
        helper.make_node("Reshape", ["k", "one"], ["ks"]),
        helper.make_node("TopK", ["x", "ks"], ["y", "order"]),
    )
    model = rewritten(model_of(*nodes))
    assert [node.op_type for node in model.graph.node] == ["TopK"]
    assert [tensor.name for tensor in model.graph.initializer] == ["ks"]


def test_integers_are_summed_as_floats():
    nodes = (
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["ones"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["ones", "axes"], ["y"], keepdims=0),
    )
    parameters = {"zero": np.float32(0), "axes": np.array([1, 2])}
    model = rewritten(model_of(*nodes, parameters=parameters, y=(TensorProto.INT32, 2)))
    assert run(model).dtype == np.int32
    assert [node.op_type for node in model.graph.node] == ["Greater", "Cast", "Cast", "ReduceSum", "Cast"]


def test_sums_of_floats_stay():
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"])
    assert len(rewritten(model_of(node, parameters={"axes": np.array([1])})).graph.node) == 1


def test_an_empty_region_of_a_resize_is_left_out():
    given = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node = helper.make_node("Resize", ["x", "roi", "scales"], ["y"], **given)
    parameters = {"roi": np.zeros(0, np.float32), "scales": np.float32([1, 1, 2, 2])}
    model = rewritten(model_of(node, parameters=parameters))
    assert list(model.graph.node[0].input) == ["x", "", "scales"]
    assert [tensor.name for tensor in model.graph.initializer] == ["scales"]


def test_an_older_opset_is_kept():
    model = plugin_graph(model_of(helper.make_node("Relu", ["x"], ["y"]), opset=13))
    assert model.opset_import[0].version == 13


def test_documentation_is_cleared():
    """The parser of 8.6 would write it into the metadata by which layers are found."""
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="a [node] | of mine")
    model = model_of(node)
    assert plugin_graph(model).graph.node[0].doc_string == ""
    assert model.graph.node[0].doc_string == "a [node] | of mine"
