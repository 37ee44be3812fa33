"""The quantised model on its way to TensorRT."""

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from parser_operators import unsupported

from pssdet.engines.precision.quantise import place_qdq, quantise
from pssdet.engines.precision.recipe import default_recipe
from pssdet.engines.trt.graph.rewrite import plugin_graph, typed_half
from pssdet.engines.trt.graph.types import tensor_types

ROUNDING = ("QuantizeLinear", "DequantizeLinear")


@pytest.fixture(scope="module")
def model(mini_folder):
    return onnx.load(mini_folder / "model.onnx")


@pytest.fixture(scope="module")
def placement(model):
    return place_qdq(model.graph)


@pytest.fixture(scope="module")
def rewritten(model, placement):
    return plugin_graph(quantise(model, dict.fromkeys(placement.activations, 4.0), placement))


def test_nothing_is_unsupported(rewritten):
    assert unsupported(rewritten) == []


def integer_layers(rewritten):
    """Layers whose input and weights are dequantised right in front of them."""
    graph = rewritten.graph
    producers = {name: node for node in graph.node for name in node.output}
    found = []
    for node in graph.node:
        sources = [producers.get(name) for name in node.input[:2]]
        if node.op_type in ("Conv", "MatMul") and all(
            each and each.op_type == "DequantizeLinear" for each in sources
        ):
            found.append(node.name)
            parameters = {tensor.name: tensor for tensor in graph.initializer}
            assert parameters[sources[1].input[0]].data_type == TensorProto.INT8
            assert producers[sources[0].input[0]].op_type == "QuantizeLinear"
    return tuple(found)


def test_integer_layers_stay_integer_layers(rewritten, placement):
    assert integer_layers(rewritten) == placement.layers


def test_in_a_typed_graph_what_surrounds_the_integers_is_half(model, rewritten, placement):
    typed = typed_half(rewritten, default_recipe("mini_faster", model.graph).fp32)
    types = tensor_types(typed)
    assert integer_layers(typed) == placement.layers
    nodes = {node.name: node for node in typed.graph.node}
    assert all(types[nodes[name].output[0]] == TensorProto.FLOAT16 for name in placement.layers)
    scales = {types[node.input[1]] for node in typed.graph.node if node.op_type in ROUNDING}
    assert scales == {TensorProto.FLOAT16}


def test_weights_in_int8_are_not_folded():
    """As long as TensorRT sees integers it computes in integers."""
    nodes = [helper.make_node("DequantizeLinear", ["w", "s", "z"], ["y"], name="trunk/w", axis=0)]
    parameters = [
        helper.make_tensor("w", TensorProto.INT8, [2], [3, -4]),
        helper.make_tensor("s", TensorProto.FLOAT, [2], [0.5, 2.0]),
        helper.make_tensor("z", TensorProto.INT8, [2], [0, 0]),
    ]
    nodes.append(helper.make_node("Mul", ["x", "y"], ["out"], name="trunk/Mul"))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "out")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], parameters)
    rewritten = plugin_graph(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    )
    assert [node.op_type for node in rewritten.graph.node] == ["DequantizeLinear", "Mul"]
    stored = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in rewritten.graph.initializer}
    assert stored["w"] == [3, -4]
