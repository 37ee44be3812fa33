"""Parts of the engines' steps: kinds of layers, matched detections, a model without deformable convolutions."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.gpu.engine_report import DETECTION
from benchmarks.gpu.engine_steps import KINDS, kind_of, layer_shares, matched
from benchmarks.no_dcn import without_dcn


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("trunk/Conv_1 + trunk/Relu_2", "trunk"),
        ("trunk/DeformConv_31", "deformable convolutions"),
        ("propose/GenerateProposals_0", "proposals"),
        ("PWN(propose/Sigmoid_3)", "proposals"),
        ("stage2/MultilevelRoiAlign_0", "RoIAlign"),
        ("stage1/decode/Exp_4", "decoding"),
        ("head/1/MatMul_0", "head"),
        ("finish/MulticlassNms_58", "NMS"),
        ("__myl_MulAddExp_myl3_1 [ONNX Layer: finish/Mul_7][ONNX Layer: finish/Exp_8]", "decoding"),
        ("Reformatting CopyNode for Input Tensor 0 to trunk/Conv_1", "reformats"),
        ("Signal[3]", "other"),
    ],
)
def test_each_layer_belongs_somewhere(layer, kind):
    assert kind_of(layer) == kind
    assert kind in KINDS


def test_shares_sum_to_one():
    found = layer_shares(
        {"trunk/Conv_0": 30.0, "trunk/Conv_1": 30.0, "finish/MulticlassNms_5": 20.0, "Signal": 20.0}
    )
    assert found == {"NMS": 0.2, "trunk": 0.6, "other": 0.2}
    assert set(DETECTION) <= set(KINDS)


def outputs(*pictures):
    """Each picture: rows (label, score, x1, y1, x2, y2)."""
    slots = 5
    found = {
        "boxes": np.zeros((len(pictures), slots, 4), np.float32),
        "scores": np.zeros((len(pictures), slots), np.float32),
        "labels": np.full((len(pictures), slots), -1, np.int32),
        "count": np.array([len(rows) for rows in pictures], np.int32),
    }
    for index, rows in enumerate(pictures):
        for number, (label, score, *box) in enumerate(rows):
            found["labels"][index, number], found["scores"][index, number] = label, score
            found["boxes"][index, number] = box
    return found


CAT = (3, 0.9, 10, 10, 50, 50)
DOG = (4, 0.6, 60, 10, 90, 90)
FAINT = (3, 0.2, 0, 0, 5, 5)


def test_the_same_detections_are_all_found():
    reference = outputs([CAT, DOG, FAINT], [])
    figures = matched(reference, reference)
    assert (figures["detections"], figures["matched"], figures["share"], figures["extra"]) == (2, 2, 1.0, 0)
    assert (figures["score_difference"], figures["iou"], figures["worst"]) == (0.0, 1.0, -1)


def test_a_box_that_moved_too_far_is_lost_and_extra():
    moved, near = (3, 0.9, 14, 10, 54, 50), (3, 0.9, 11, 10, 51, 50)  # IoU 36 / 44, 39 / 41
    figures = matched(outputs([DOG], [CAT]), outputs([DOG], [moved]))
    assert (figures["matched"], figures["share"], figures["extra"], figures["worst"]) == (1, 0.5, 1, 1)
    assert matched(outputs([CAT]), outputs([near]))["share"] == 1.0


def test_another_label_is_no_partner():
    assert matched(outputs([CAT]), outputs([(4, *CAT[1:])]))["matched"] == 0


def test_a_partner_may_have_fallen_below_the_score():
    figures = matched(outputs([(3, 0.31, *CAT[2:])]), outputs([(3, 0.28, *CAT[2:])]))
    assert (figures["matched"], figures["extra"]) == (1, 0)
    assert abs(figures["score_difference"] - 0.03) < 1e-6


def test_a_partner_serves_once():
    figures = matched(outputs([CAT, (3, 0.8, *CAT[2:])]), outputs([CAT]))
    assert (figures["detections"], figures["matched"]) == (2, 1)


def test_a_touch_does_not_count_as_overlap():
    figures = matched(outputs([(3, 0.9, 0, 0, 0, 0)]), outputs([(3, 0.9, 0, 0, 0, 0)]))
    assert figures["matched"] == 0  # no area, no overlap


def test_the_first_pictures_are_enough():
    figures = matched(outputs([CAT], [DOG]), outputs([CAT]))
    assert (figures["detections"], figures["share"]) == (1, 1.0)


def test_nothing_to_find():
    figures = matched(outputs([FAINT]), outputs([CAT]))
    assert (figures["detections"], figures["share"], figures["extra"]) == (0, 1.0, 1)


def deformable():
    rng = np.random.RandomState(0)
    parameters = {
        "w": rng.standard_normal((6, 4, 3, 3)),
        "b": rng.standard_normal(6),
        "offset.w": np.zeros((18, 4, 3, 3)),
        "mask.w": np.zeros((9, 4, 3, 3)),
    }
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "offset.w"], ["offset"], name="trunk/Conv_0", **padded),
        helper.make_node("Conv", ["x", "mask.w"], ["logit"], name="trunk/Conv_1", **padded),
        helper.make_node("Sigmoid", ["logit"], ["mask"], name="trunk/Sigmoid_2"),
        helper.make_node(
            "DeformConv", ["x", "w", "offset", "b", "mask"], ["d"], name="trunk/D", offset_group=1, **padded
        ),
        helper.make_node("Relu", ["d"], ["y"], name="trunk/Relu_4"),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 5, 5])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_without_offsets_and_with_equal_masks_plain_convolutions_differ_by_the_mask_alone():
    model = deformable()
    plain = without_dcn(model)
    bias = next(tensor for tensor in plain.graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(bias), "b"))
    x = np.random.RandomState(1).standard_normal((1, 4, 9, 9)).astype(np.float32)
    # Masks are sigmoid(0): the deformable one gives half of the products, all of the bias.
    np.testing.assert_allclose(run(model, x), run(plain, x) / 2, rtol=1e-5, atol=1e-5)


def test_predictors_are_gone_and_the_model_is_untouched():
    model = deformable()
    before = model.SerializeToString()
    plain = without_dcn(model)
    assert model.SerializeToString() == before
    assert [(node.op_type, node.name) for node in plain.graph.node] == [
        ("Conv", "trunk/D"),
        ("Relu", "trunk/Relu_4"),
    ]
    assert [tensor.name for tensor in plain.graph.initializer] == ["w", "b"]
    onnx.checker.check_model(plain, full_check=True)
