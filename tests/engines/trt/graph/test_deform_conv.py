"""DeformConv becomes its plugin, with as much around it as means the same, and no more."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from parser_operators import unsupported
from plugin_meaning import run_plugin_graph

from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.errors import BadInput

X = [2, 4, 5, 6]


def layer(
    *,
    sizes=(18, 9),
    relu="out",
    offset="t/offset",
    mask="t/mask",
    conv="t/y",
    extra=(),
    outputs=("out",),
    **given,
):
    """Conv -> Split -> Sigmoid -> DeformConv -> Relu, with names and sizes that a test changes."""
    nodes = [
        helper.make_node("Conv", ["x", "wo", "bo"], ["t/raw"], name="trunk/Conv_0", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["t/raw", "sizes"], [offset, "t/logit"], name="trunk/Split_1", axis=1),
        helper.make_node("Sigmoid", ["t/logit"], [mask], name="trunk/Sigmoid_2"),
        helper.make_node(
            "DeformConv",
            ["x", "w", offset, "b", mask],
            [conv],
            name="trunk/DeformConv_3",
            **{"pads": [1, 1, 1, 1], **given},
        ),
        helper.make_node("Relu", [conv], [relu], name="trunk/Relu_4"),
        *extra,
    ]
    return model_of(nodes, outputs, sizes)


def model_of(nodes, outputs, sizes=(18, 9)):
    generator = np.random.default_rng(0)
    parameters = {
        "wo": generator.normal(0, 0.3, (sum(sizes), 4, 3, 3)),
        "bo": generator.normal(0, 0.7, sum(sizes)),
        "w": generator.normal(0, 0.3, (6, 4, 3, 3)),
        "b": generator.normal(0, 0.5, 6),
    }
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in parameters.items()]
    tensors.append(numpy_helper.from_array(np.array(sizes), "sizes"))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, X)
    graph = helper.make_graph(nodes, "layer", [x], infos, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def plugin_of(model):
    rewritten = plugin_graph(model)
    assert unsupported(rewritten) == []
    (node,) = [node for node in rewritten.graph.node if node.op_type == "PssDetDeformConv2d"]
    return rewritten, node, {each.name: helper.get_attribute_value(each) for each in node.attribute}


def same(model):
    """Whether the rewritten graph computes what the model does."""
    x = np.random.default_rng(1).normal(0, 1, X).astype(np.float32)
    names = [output.name for output in model.graph.output]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    tensors = run_plugin_graph(plugin_graph(model), [], {"x": x})
    for name, value in zip(names, session.run(names, {"x": x}), strict=True):
        np.testing.assert_allclose(tensors[name], value, rtol=0, atol=2e-6)


def test_the_whole_layer_becomes_one_node_after_its_predictor():
    model, node, given = plugin_of(layer())
    assert [each.op_type for each in model.graph.node] == ["Conv", "PssDetDeformConv2d"]
    assert node.name == "trunk/DeformConv_3"
    assert list(node.input) == ["x", "w:packed", "t/raw", "b"]
    assert list(node.output) == ["out"]
    assert given == {
        "dilations": [1, 1],
        "group": 1,
        "kernel_shape": [3, 3],
        "offset_group": 1,
        "pads": [1, 1, 1, 1],
        "strides": [1, 1],
        "has_bias": 1,
        "has_mask": 0,
        "raw_mask": 1,
        "relu": 1,
        "half_offsets": 0,
        "plugin_version": b"1",
        "plugin_namespace": b"pssdet",
    }
    same(layer())


def test_the_given_model_stays_as_it_is():
    model = layer()
    before = model.SerializeToString()
    plugin_graph(model)
    assert model.SerializeToString() == before


def test_weights_are_in_the_kernels_order_and_only_there():
    model, _, _ = plugin_of(layer())
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    original = numpy_helper.to_array(next(t for t in layer().graph.initializer if t.name == "w"))
    assert set(tensors) == {"wo", "bo", "w:packed", "b"}
    assert tensors["w:packed"].shape == (6, 3, 3, 4)
    assert tensors["w:packed"][5, 2, 1, 3] == original[5, 3, 2, 1]


@pytest.mark.parametrize("given", [{"strides": [2, 1]}, {"dilations": [1, 2], "pads": [2, 1, 0, 3]}])
def test_other_geometry(given):
    """The predictor has the layer's own size only with the same geometry, so it is given that."""
    model = layer(**given)
    for name, value in given.items():
        attributes = model.graph.node[0].attribute
        for old in [each for each in attributes if each.name == name]:
            attributes.remove(old)
        attributes.append(helper.make_attribute(name, value))
    _, _, attributes = plugin_of(model)
    assert all(attributes[name] == value for name, value in given.items())
    same(model)


def test_offset_groups():
    model = layer(sizes=(36, 18), offset_group=2)
    _, _, given = plugin_of(model)
    assert (given["raw_mask"], given["offset_group"]) == (1, 2)
    same(model)


def user(name):
    return helper.make_node("Identity", [name], ["again"], name="trunk/Identity_5")


@pytest.mark.parametrize(
    ("changes", "raw", "relu"),
    [
        ({"mask": "mask"}, 0, 1),  # a name without a slash is a stage's
        ({"offset": "offset"}, 0, 1),
        ({"extra": [user("t/mask")], "outputs": ["out", "again"]}, 0, 1),
        ({"extra": [user("t/logit")], "outputs": ["out", "again"]}, 0, 1),
        ({"extra": [user("t/offset")], "outputs": ["out", "again"]}, 0, 1),
        ({"extra": [user("t/raw")], "outputs": ["out", "again"]}, 1, 1),
        ({"conv": "y"}, 1, 0),
        ({"extra": [user("t/y")], "outputs": ["out", "again"]}, 1, 0),
        ({"outputs": ["out", "t/y"]}, 1, 0),
        ({"outputs": ["out", "t/mask"]}, 0, 1),
    ],
)
def test_what_others_read_is_still_made(changes, raw, relu):
    _, node, given = plugin_of(layer(**changes))
    assert (given["raw_mask"], given["relu"]) == (raw, relu)
    assert given["has_mask"] == 1 - raw
    assert len(node.input) == 5 - raw
    same(layer(**changes))


def deform(inputs, **given):
    node = helper.make_node(
        "DeformConv", inputs, ["out"], name="trunk/DeformConv_1", pads=[1, 1, 1, 1], **given
    )
    return [
        helper.make_node("Conv", ["x", "wo", "bo"], ["t/raw"], name="trunk/Conv_0", pads=[1, 1, 1, 1]),
        node,
    ]


@pytest.mark.parametrize(("inputs", "bias"), [(["x", "w", "t/raw", "b"], 1), (["x", "w", "t/raw"], 0)])
def test_without_mask_or_bias(inputs, bias):
    model = model_of(deform(inputs), ["out"], (18,))
    _, node, given = plugin_of(model)
    assert (given["has_bias"], given["has_mask"], given["raw_mask"], given["relu"]) == (bias, 0, 0, 0)
    assert "" not in node.input
    same(model)


def test_masks_of_another_predictor_are_not_raw():
    nodes = [
        helper.make_node("Conv", ["x", "wo", "bo"], ["t/raw"], name="trunk/Conv_0", pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["t/raw", "sizes"], ["t/logit", "t/offset"], name="trunk/Split_1", axis=1),
        helper.make_node("Sigmoid", ["t/logit"], ["t/mask"], name="trunk/Sigmoid_2"),
        helper.make_node(
            "DeformConv",
            ["x", "w", "t/offset", "", "t/mask"],
            ["out"],
            name="trunk/DeformConv_3",
            pads=[1, 1, 1, 1],
        ),
    ]
    model = model_of(nodes, ["out"], (9, 18))  # masks first: the plugin wants them last
    _, _, given = plugin_of(model)
    assert (given["raw_mask"], given["has_mask"]) == (0, 1)
    same(model)


def test_parts_of_other_sizes_are_not_offsets_and_masks():
    _, _, given = plugin_of(layer(sizes=(17, 10)))
    assert (given["raw_mask"], given["has_mask"]) == (0, 1)


def test_weights_that_are_not_constant_are_refused():
    nodes = [
        helper.make_node("Identity", ["w"], ["t/w"], name="trunk/Identity_9"),
        *deform(["x", "t/w", "t/raw"]),
    ]
    model = model_of(nodes, ["out"], (18,))
    plugin_graph(model)  # folded
    nodes[0] = helper.make_node("Mul", ["x", "x"], ["t/w"], name="trunk/Mul_9")
    with pytest.raises(BadInput, match=r"DeformConv trunk/DeformConv_1 .* not a constant"):
        plugin_graph(model_of(nodes, ["out"], (18,)))


def test_names_of_nodes_must_be_unique():
    model = layer()
    model.graph.node[1].name = "trunk/Conv_0"
    with pytest.raises(BadInput, match="1 names of nodes are missing or not unique"):
        plugin_graph(model)
    assert isinstance(model, onnx.ModelProto)
