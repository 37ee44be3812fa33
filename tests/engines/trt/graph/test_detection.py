"""The pssdet functions become plugin nodes, or a clear refusal."""

import onnx
import pytest
from onnx import TensorProto, helper
from parser_operators import unsupported

from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.errors import BadInput

STRIDES = [4, 8]
PROPOSALS = {
    "anchors": [-8.0, -8.0, 8.0, 8.0] * 6,
    "strides": STRIDES,
    "pre_nms_top_n": 200,
    "post_nms_top_n": 100,
    "nms_threshold": 0.5,
    "min_size": 1.0,
    "pixel_offset": 0.0,
    "clip_multiple": 32.0,
}
ROI_ALIGN = {
    "strides": STRIDES,
    "min_level": 2,
    "canonical_level": 4,
    "canonical_size": 224.0,
    "pixel_offset": 1.0,
    "output_size": 7,
    "sampling_ratio": 2,
    "coordinate_transformation_mode": "half_pixel",
}
NMS = {"score_threshold": 0.25, "nms_threshold": 0.5, "max_detections": 100, "pixel_offset": 1.0}
GIVEN = {"GenerateProposals": PROPOSALS, "MultilevelRoiAlign": ROI_ALIGN, "MulticlassNms": NMS}
TENSORS = {
    "GenerateProposals": (["s0", "s1", "d0", "d1", "size"], ["proposals", "scores", "count"]),
    "MultilevelRoiAlign": (["p0", "p1", "rois"], ["features"]),
    "MulticlassNms": (["boxes", "scores", "regions"], ["best", "best_scores", "labels", "count"]),
}


def call(kind, changes=None, outputs=None, inputs=None):
    """A graph that is a call of one function."""
    attributes = {name: value for name, value in (GIVEN[kind] | (changes or {})).items() if value is not None}
    inputs, outputs = inputs or TENSORS[kind][0], outputs or TENSORS[kind][1]
    node = helper.make_node(kind, inputs, outputs, name=f"x/{kind}_0", domain="pssdet", **attributes)
    types = {name: TensorProto.INT32 if name == "regions" else TensorProto.FLOAT for name in inputs}
    graph = helper.make_graph(
        [node],
        "call",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs if name],
    )
    imports = [helper.make_opsetid("", 19), helper.make_opsetid("pssdet", 1)]
    function = helper.make_function("pssdet", kind, inputs, outputs, [], imports)
    return helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=9)


@pytest.mark.parametrize("kind", GIVEN)
def test_a_call_becomes_a_plugin_node(kind):
    model = plugin_graph(call(kind))
    assert unsupported(model) == []
    assert not model.functions
    (node,) = model.graph.node
    assert (node.op_type, node.name) == (f"PssDet{kind}", f"x/{kind}_0")
    assert (list(node.input), list(node.output)) == TENSORS[kind]
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    assert (given.pop("plugin_namespace"), given.pop("plugin_version")) == (b"pssdet", b"1")
    expected = dict(GIVEN[kind])
    if expected.pop("coordinate_transformation_mode", None):
        expected["aligned"] = 1
    assert given == expected
    kinds = {name: type(value[0] if isinstance(value, list) else value) for name, value in given.items()}
    assert kinds == {
        name: type(value[0] if isinstance(value, list) else value) for name, value in expected.items()
    }


def test_the_other_mode_is_not_aligned():
    model = plugin_graph(call("MultilevelRoiAlign", {"coordinate_transformation_mode": "output_half_pixel"}))
    assert {each.name: each.i for each in model.graph.node[0].attribute}["aligned"] == 0


LEVELS9 = {"strides": [2**i for i in range(9)], "anchors": [1.0] * 36}


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("GenerateProposals", {"pre_nms_top_n": 2049}, "2049 candidates of a level"),
        ("GenerateProposals", {"post_nms_top_n": 2049}, "2049 proposals of an image"),
        ("GenerateProposals", {"post_nms_top_n": 0}, "0 proposals of an image"),
        ("GenerateProposals", {"anchors": [1.0] * 4 * 17 * 2}, "17 anchors of a cell"),
        ("GenerateProposals", LEVELS9, "9 pyramid levels"),
        ("GenerateProposals", {"anchors": [1.0] * 25}, "anchors and inputs do not fit"),
        ("GenerateProposals", {"strides": [4]}, "anchors and inputs do not fit"),
        ("GenerateProposals", {"min_size": None}, "'min_size' is missing"),
        ("MultilevelRoiAlign", {"strides": [4, 8, 16]}, "inputs do not fit"),
        ("MultilevelRoiAlign", {"strides": [4] * 9}, "9 pyramid levels"),
        ("MultilevelRoiAlign", {"output_size": 33}, "33 bins of a region's side"),
        ("MultilevelRoiAlign", {"sampling_ratio": 65}, "65 samples of a bin's side"),
        ("MultilevelRoiAlign", {"sampling_ratio": -1}, "-1 samples of a bin's side"),
        (
            "MultilevelRoiAlign",
            {"coordinate_transformation_mode": "half"},
            "coordinate_transformation_mode is half",
        ),
        ("MulticlassNms", {"max_detections": 2049}, "2049 detections of an image"),
        ("MulticlassNms", {"pixel_offset": None}, "'pixel_offset' is missing"),
    ],
)
def test_what_is_beyond_a_plugin_is_refused(kind, changes, reason):
    with pytest.raises(BadInput) as error:
        plugin_graph(call(kind, changes))
    assert f"{kind} x/{kind}_0 has no TensorRT plugin" in str(error.value)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("GenerateProposals", {"pre_nms_top_n": 2048, "post_nms_top_n": 2048, "anchors": [1.0] * 4 * 16 * 2}),
        ("MultilevelRoiAlign", {"output_size": 32, "sampling_ratio": 64}),
        ("MultilevelRoiAlign", {"sampling_ratio": 0}),
        ("MulticlassNms", {"max_detections": 2048}),
    ],
)
def test_the_limits_themselves_are_taken(kind, changes):
    assert unsupported(plugin_graph(call(kind, changes))) == []


def test_unnamed_outputs_are_refused():
    with pytest.raises(BadInput, match="does not have the 3 outputs"):
        plugin_graph(call("GenerateProposals", outputs=["proposals", "", "count"]))


def test_an_unknown_function_is_refused():
    model = call("MulticlassNms")
    model.graph.node[0].op_type = "SoftNms"
    with pytest.raises(BadInput, match=r"SoftNms x/MulticlassNms_0 has no TensorRT plugin; export"):
        plugin_graph(model)


def test_half_a_feature_map_is_refused():
    """All maps of a plugin have one type."""
    model = plugin_graph(call("MultilevelRoiAlign"))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    assert "cannot take these types together" in unsupported(model)[0]
