import pytest

from benchmarks.gpu.layer_kinds import DETECTION, KINDS, kind_of, shares


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
    found = shares({"trunk/Conv_0": 30.0, "trunk/Conv_1": 30.0, "finish/MulticlassNms_5": 20.0, "Signal": 20.0})
    assert found == {"NMS": 0.2, "trunk": 0.6, "other": 0.2}
    assert set(DETECTION) <= set(KINDS)
