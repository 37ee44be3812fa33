"""Simplified graphs compute the same with fewer nodes."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pssdet.export.simplify import name_outputs, simplify


def graph_of(nodes, outputs, parameters):
    return helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5])],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in parameters.items()],
    )


def run(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(np.float32)
    return session.run(None, {"x": x})


def parameters(generator):
    return {
        "w": generator.normal(size=(3, 2, 3, 3)),
        "gamma": generator.uniform(0.5, 2, 3),
        "beta": generator.normal(size=3),
        "mean": generator.normal(size=3),
        "variance": generator.uniform(0.5, 2, 3),
        "bias": generator.normal(size=(1, 3, 1, 1)),
    }


def conv(source, target, weight="w"):
    return helper.make_node("Conv", [source, weight], [target], name=f"conv_{target}", pads=[1, 1, 1, 1])


def norm(source, target):
    inputs = [source, "gamma", "beta", "mean", "variance"]
    return helper.make_node("BatchNormalization", inputs, [target], name=f"norm_{target}")


def check(nodes, outputs, left):
    graph = graph_of(nodes, outputs, parameters(np.random.default_rng(1)))
    before = run(graph)
    simplify(graph)
    assert [node.op_type for node in graph.node] == left
    for expected, obtained in zip(before, run(graph), strict=True):
        np.testing.assert_allclose(obtained, expected, rtol=1e-5, atol=1e-5)
    return graph


def test_batch_norm_and_bias_fold_into_the_convolution():
    add = helper.make_node("Add", ["n", "bias"], ["y"], name="add")
    graph = check([conv("x", "c"), norm("c", "n"), add], ["y"], ["Conv"])
    assert {tensor.name for tensor in graph.initializer} == {"w", "w.bias"}


def test_deformable_convolution_folds_too():
    offsets = helper.make_node("Conv", ["x", "wo"], ["o"], name="offsets", pads=[1, 1, 1, 1])
    deform = helper.make_node("DeformConv", ["x", "w", "o"], ["d"], name="deform", pads=[1, 1, 1, 1])
    generator = np.random.default_rng(1)
    values = parameters(generator) | {"wo": generator.normal(size=(18, 2, 3, 3))}
    graph = graph_of([offsets, deform, norm("d", "y")], ["y"], values)
    before = run(graph)[0]
    simplify(graph)
    assert [node.op_type for node in graph.node] == ["Conv", "DeformConv"]
    np.testing.assert_allclose(run(graph)[0], before, rtol=1e-5, atol=1e-5)


def test_a_convolution_whose_output_others_need_is_left_alone():
    check([conv("x", "c"), norm("c", "y")], ["y", "c"], ["Conv", "BatchNormalization"])


def test_weights_used_twice_are_not_scaled_under_their_other_user():
    nodes = [conv("x", "a"), conv("x", "b"), norm("a", "y")]
    check(nodes, ["y", "b"], ["Conv", "Conv", "BatchNormalization"])


def test_an_addition_of_two_branches_stays():
    add = helper.make_node("Add", ["a", "b"], ["y"], name="add")
    check([conv("x", "a"), conv("x", "b"), add], ["y"], ["Conv", "Conv", "Add"])


def test_identities_and_dead_nodes_go():
    nodes = [
        helper.make_node("Identity", ["x"], ["i"], name="i"),
        helper.make_node("Relu", ["i"], ["r"], name="r"),
        helper.make_node("Neg", ["i"], ["dead"], name="dead"),
        helper.make_node("Identity", ["r"], ["y"], name="out"),
    ]
    graph = check(nodes, ["y"], ["Relu"])
    assert not graph.initializer


def test_constants_become_initialisers():
    tensor = numpy_helper.from_array(np.array(2.5, np.float32))
    nodes = [
        helper.make_node("Constant", [], ["k"], name="k", value=tensor),
        helper.make_node("Mul", ["x", "k"], ["y"], name="mul"),
    ]
    graph = check(nodes, ["y"], ["Mul"])
    assert [t.name for t in graph.initializer] == ["k"]


def test_outputs_get_their_names_by_position():
    graph = graph_of(
        [conv("x", "fetch_0"), helper.make_node("Relu", ["fetch_0"], ["fetch_1"])],
        ["fetch_0", "fetch_1"],
        parameters(np.random.default_rng(1)),
    )
    expected = run(graph)
    name_outputs(graph, ["c2", "p2"])
    assert [output.name for output in graph.output] == ["c2", "p2"]
    for a, b in zip(expected, run(graph), strict=True):
        np.testing.assert_array_equal(a, b)
