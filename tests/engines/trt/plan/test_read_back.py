"""What the inspector tells of held nodes: each kind of layer is read back, fused regions are not told of."""

import pytest

from pssdet.engines.trt.plan.held import COMPUTED, MOVED, NO_FLOAT, Held
from pssdet.engines.trt.plan.read_back import is_fused_region, read_back
from pssdet.errors import GateFailed

OLD = {"fp32": "Row major linear FP32", "fp16": "Channel major FP16 format where channel % 8 == 0"}
NEW = {"fp32": "Float(25600,1600,40,1)", "fp16": "Half(64,1:8,4,2)"}
WORDS = pytest.mark.parametrize("words", [OLD, NEW], ids=["8.6", "10"])


def layer(kind, node, text, weights=None, outputs=None, **fields):
    described = {
        "Name": node,
        "LayerType": kind,
        "Inputs": [{"Name": "x", "Format/Datatype": text}],
        "Outputs": [{"Name": "y", "Format/Datatype": outputs or text}],
        "Metadata": f"[ONNX Layer: {node}]",
        **fields,
    }
    return described | ({"Weights": {"Type": weights, "Count": 1}} if weights else {})


def told(layers, computed=(), moved=()):
    return read_back(layers, Held(tuple(computed), tuple(moved), {}))


KINDS = (
    "CaskConvolution",
    "CudaDepthwiseConvolution",
    "CublasConvolution",
    "ElementWise",
    "PointWiseV2",
    "Unary",
    "Activation",
    "Reduce",
    "CudaSoftMax",
    "MatrixMultiply",
    "PluginV2",
    "PluginV3",
    "Resize",
)


class TestComputing:
    @WORDS
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_of_layer_is_read(self, kind, words):
        assert told([layer(kind, "a", words["fp32"])], ["a"]).float32[COMPUTED] == ("a",)
        rounded = told([layer(kind, "a", words["fp16"])], ["a"])
        assert rounded.rounded == ("a",)
        with pytest.raises(GateFailed, match=r"does not keep a in float32, as it was told to; no engine"):
            rounded.prove()

    def test_half_weights_or_int8_ones_round(self):
        assert told([layer("CaskConvolution", "a", OLD["fp32"], "Half")], ["a"]).rounded == ("a",)
        assert told([layer("CaskConvolution", "a", OLD["fp32"], "Int8")], ["a"]).rounded == ("a",)

    def test_half_consumers_may_be_given_half_values(self):
        """Rounding what a held node gives to a half one is that one's precision."""
        given = layer("CaskConvolution", "a", OLD["fp32"], "Float", outputs=OLD["fp16"])
        assert told([given], ["a"]).float32[COMPUTED] == ("a",)

    def test_parts_of_fused_names(self):
        fused = layer("PointWiseV2", "PWN(PWN(a), b)", OLD["fp16"], Metadata="")
        assert told([fused], ["a", "b"]).rounded == ("a", "b")

    def test_copies_for_a_node_are_not_the_node(self):
        copy = layer("Reformat", "Reformatting CopyNode for Input Tensor 0 to c + a", OLD["fp16"], Metadata="")
        assert told([copy, layer("ElementWise", "a", OLD["fp32"])], ["a"]).rounded == ()
        assert told([copy], ["a"]).not_told == ("a",)


class TestMoving:
    @WORDS
    @pytest.mark.parametrize("kind", ["Shuffle", "Slice", "Concat", "Gather", "Select", "TopK"])
    def test_the_output_counts(self, kind, words):
        assert told([layer(kind, "a", words["fp32"])], moved=["a"]).float32[MOVED] == ("a",)
        assert told([layer(kind, "a", words["fp16"])], moved=["a"]).rounded == ("a",)

    def test_integers_say_nothing(self):
        integers = layer("Gather", "a", "Row major linear INT32", outputs=OLD["fp32"])
        assert told([integers], moved=["a"]).float32[MOVED] == ("a",)


REGIONS = (
    {"LayerType": "Myelin", "Name": "{ForeignNode[a...b]}", "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]"},
    {"LayerType": "kgen", "Name": "__myl_MulAddExp_myl1_2", "Metadata": "[ONNX Layer: a]\x1f[ONNX Layer: b]"},
    {"LayerType": "gemm", "Name": "/head/MatMul_myl109_2", "Metadata": "[ONNX Layer: a]\x1f[ONNX Layer: b]"},
)


class TestRegions:
    @pytest.mark.parametrize("region", REGIONS)
    @pytest.mark.parametrize("text", [OLD["fp16"], OLD["fp32"]])
    def test_are_not_told_of(self, region, text):
        region = {**layer("", "", text), **region}
        assert is_fused_region(region)
        assert told([region], ["a"], ["b"]).not_told == ("a", "b")
        told([region], ["a"], ["b"]).prove()

    @pytest.mark.parametrize("kind", [*KINDS, "Reformat", "NoOp"])
    def test_other_layers_are_none(self, kind):
        assert not is_fused_region(layer(kind, "trunk/Conv_1 + trunk/Relu_2", OLD["fp32"]))


def test_the_card_lists_each_node_once():
    held = Held(("a", "b"), ("c",), {NO_FLOAT: ("d",)})
    layers = [layer("ElementWise", "a", OLD["fp32"]), layer("Shuffle", "c", OLD["fp32"])]
    assert read_back(layers, held).recorded(held) == {
        COMPUTED: ("a",),
        MOVED: ("c",),
        "held, but the inspector does not tell": ("b",),
        NO_FLOAT: ("d",),
    }


def test_nothing_held_is_nothing_recorded():
    assert read_back([], Held()).recorded(Held()) == {}
