"""The strongly typed graph: half in the region, casts where it ends, types that go together everywhere."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.trt.graph.rewrite import typed_half, typed_region
from pssdet.engines.trt.graph.types import tensor_types

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
PLUGIN = {"domain": "trt.plugins", "plugin_namespace": "pssdet", "plugin_version": "1"}
LAYER = {"has_bias": 1, "has_mask": 0, "raw_mask": 1, "relu": 1, "half_offsets": 0}


def make(kind, inputs, outputs, name, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), name=name, **attributes)


def detector(score="p/score"):
    """A trunk (convolution, DCNv2 layer), RPN maps, RoIAlign and a head, as ``plugin_graph`` writes them."""
    nodes = [
        make("Conv", "image w0 b0", "t/c", "trunk/Conv_0"),
        make("Conv", "t/c wo b0", "t/raw", "trunk/Conv_1"),
        make("PssDetDeformConv2d", "t/c wd t/raw b0", "p2", "trunk/DeformConv_2", **LAYER, **PLUGIN),
        make("Conv", "p2 w0 b0", "rpn_score_p2", "trunk/Conv_3"),
        make("Conv", "p2 w0 b0", "rpn_delta_p2", "trunk/Conv_4"),
        make("Sigmoid", "rpn_score_p2", "p/score", "propose/Sigmoid_0"),
        make(
            "PssDetGenerateProposals",
            f"{score} rpn_delta_p2 image_size",
            "proposals proposal_scores proposal_count",
            "propose/GenerateProposals_0",
            **PLUGIN,
        ),
        make(
            "PssDetMultilevelRoiAlign", "p2 proposals", "roi_features", "stage1/MultilevelRoiAlign_0", **PLUGIN
        ),
        make("MatMul", "roi_features wm", "class_logits_1", "head/1/MatMul_0"),
        make("Softmax", "class_logits_1", "y", "finish/Softmax_0"),
    ]
    parameters = {"w0": (4, 4, 1, 1), "wo": (3, 4, 1, 1), "wd": (4, 1, 1, 4), "b0": (4,), "wm": (4, 4)}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("image", "image_size")],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [
            numpy_helper.from_array(np.full(shape, 1 / 3, np.float32), name)
            for name, shape in parameters.items()
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("trt.plugins", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def typed(*fp32, **changes):
    model = typed_half(detector(**changes), fp32)
    return {node.name: node for node in model.graph.node}, tensor_types(model)


def test_trunk_and_head_are_half_and_the_rest_is_not():
    nodes, types = typed("trunk/Conv_1")
    assert [types[name] for name in ("t/c:half", "p2:half", "roi_features:half", "class_logits_1:half")] == [
        HALF
    ] * 4
    assert [types[name] for name in ("t/raw", "p/score", "proposals", "y")] == [FLOAT] * 4
    assert list(nodes["trunk/Conv_1"].input) == ["t/c", "wo", "b0"]
    assert list(nodes["trunk/DeformConv_2"].input) == ["t/c:half", "wd", "t/raw", "b0"]
    assert list(nodes["stage1/MultilevelRoiAlign_0"].input) == ["p2:half", "proposals"]
    assert list(nodes["head/1/MatMul_0"].input) == ["roi_features:half", "wm"]
    assert list(nodes["finish/Softmax_0"].input) == ["class_logits_1"]


def test_parameters_of_both_sides_exist_twice():
    """The bias of a DCNv2 layer is float32, those of convolutions are half."""
    nodes, types = typed("trunk/Conv_1")
    assert list(nodes["trunk/Conv_0"].input) == ["image:half", "w0", "b0:half"]
    assert (types["w0"], types["wd"], types["wm"], types["b0:half"]) == (HALF,) * 4
    assert (types["wo"], types["b0"]) == (FLOAT, FLOAT)


def test_stages_keep_their_float32_names():
    _, types = typed("trunk/Conv_1")
    stages = ("p2", "rpn_score_p2", "rpn_delta_p2", "roi_features", "class_logits_1")
    assert [types[name] for name in stages] == [FLOAT] * 5


def test_offsets_from_a_half_predictor_are_cast_for_the_plugin():
    nodes, types = typed()
    assert types["t/raw:half"] == HALF
    assert list(nodes["trunk/DeformConv_2"].input) == ["t/c:half", "wd", "t/raw", "b0"]
    assert types["t/raw"] == FLOAT


def test_proposals_read_half_maps_only_if_all_are():
    nodes, _ = typed("trunk/Conv_1", score="rpn_score_p2")
    assert list(nodes["propose/GenerateProposals_0"].input) == [
        "rpn_score_p2:half",
        "rpn_delta_p2:half",
        "image_size",
    ]
    outputs = ["proposals", "proposal_scores", "proposal_count"]  # float32 and int32 in any case
    assert list(nodes["propose/GenerateProposals_0"].output) == outputs
    nodes, _ = typed("trunk/Conv_1")  # scores through a sigmoid, which stays float32
    assert list(nodes["propose/GenerateProposals_0"].input) == ["p/score", "rpn_delta_p2", "image_size"]
    nodes, _ = typed("trunk/Conv_4", score="rpn_score_p2")
    assert list(nodes["propose/GenerateProposals_0"].input) == ["rpn_score_p2", "rpn_delta_p2", "image_size"]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ("trunk/DeformConv_2", ["t/c", "wd", "t/raw", "b0"]),
        ("stage1/MultilevelRoiAlign_0", ["p2", "proposals"]),
        ("head/1/MatMul_0", ["roi_features", "wm"]),
    ],
)
def test_a_recipes_node_stays_float32(kept, expected):
    nodes, types = typed(kept)
    assert list(nodes[kept].input) == expected
    assert {types[name] for name in expected} == {FLOAT}
    assert {types[name] for name in nodes[kept].output} == {FLOAT}


def test_roi_align_follows_its_maps():
    assert "stage1/MultilevelRoiAlign_0" in typed_region(detector().graph, [])
    assert "stage1/MultilevelRoiAlign_0" not in typed_region(detector().graph, ["trunk/DeformConv_2"])


def test_nothing_is_half_if_everything_is_kept():
    model = detector()
    kept = [node.name for node in model.graph.node]
    assert typed_half(model, kept).graph == model.graph


def test_nodes_that_a_plugin_took_over_are_passed_over():
    assert typed_region(detector().graph, ["trunk/Split_9"]) == typed_region(detector().graph, [])


def test_the_given_model_stays_as_it_is():
    model = detector()
    before = model.SerializeToString()
    assert isinstance(typed_half(model, []), onnx.ModelProto)
    assert model.SerializeToString() == before
