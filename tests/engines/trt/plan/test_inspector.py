"""The proof of precision: what TensorRT's inspector says, in the words of 8.6 and 10, counted by operations."""

import json
from types import SimpleNamespace

import pytest

from pssdet.engines.trt.plan.inspector import (
    Precisions,
    engine_information,
    first_profile,
    layer_precision,
    prove,
    read_layers,
    summarise,
)
from pssdet.engines.trt.profiles import default_profile
from pssdet.errors import EnvironmentMissing, GateFailed

# The form of NVIDIA's own examples: TensorRT 8.x writes layouts out and fuses names by " + ".
OLD = {
    "Name": "trunk/a/Conv + trunk/a/Relu",
    "LayerType": "CaskConvolution",
    "Inputs": [
        {
            "Name": "x",
            "Location": "Device",
            "Dimensions": [1, 64, 40, 40],
            "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
        }
    ],
    "Outputs": [{"Name": "y", "Dimensions": [1, 64, 40, 40], "Format/Datatype": "Row major linear FP32"}],
    "ParameterType": "Convolution",
    "Weights": {"Type": "Half", "Count": 131072},
    "Bias": {"Type": "Float", "Count": 256},
    "TacticName": "sm70_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc",
}
# TensorRT 10 names the ONNX nodes apart, and tells no format of tensors whose shapes are dynamic.
NEW = {
    "Name": "__myl_Conv_0",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "x", "Dimensions": [-1, 64, -1, -1], "Format/Datatype": "N/A due to dynamic shapes"}],
    "Outputs": [{"Name": "y", "Dimensions": [-1, 64, -1, -1], "Format/Datatype": "N/A due to dynamic shapes"}],
    "Weights": {"Type": "Half", "Count": 131072},
    "Metadata": "[ONNX Layer: trunk/a/Conv]\u001e[ONNX Layer: trunk/a/Relu]",
}


def layer(kind, node, weights=None, **fields):
    described = {
        "Name": node,
        "LayerType": fields.pop("layer_type", "CaskConvolution"),
        "Inputs": [{"Name": "x", "Format/Datatype": kind}],
        "Outputs": [{"Name": "y", "Format/Datatype": kind}],
        "Metadata": f"[ONNX Layer: {node}]",
        **fields,
    }
    return described | ({"Weights": {"Type": weights, "Count": 1}} if weights else {})


class TestLayer:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Row major linear FP32", "fp32"),
            ("Row major linear FP16 format", "fp16"),
            ("Channel major FP16 format where channel % 8 == 0", "fp16"),
            ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
            ("Row major Int8 format", "int8"),
            ("Float(25600,1600,40,1)", "fp32"),
            ("Half(64,1:8,4,2)", "fp16"),
            ("Half", "fp16"),
            ("Int8(1,2:32)", "int8"),
            ("N/A due to dynamic shapes", "unknown"),
            ("", "unknown"),
            ("Row major linear INT32", "unknown"),
        ],
    )
    def test_types_in_both_versions_words(self, text, expected):
        assert layer_precision(layer(text, "a")) == expected

    def test_old_and_new_layers(self):
        assert layer_precision(OLD) == "fp16"
        assert layer_precision(NEW) == "fp16"

    def test_of_contradicting_evidence_the_wider_is_believed(self):
        assert layer_precision(layer("Half", "a", "Float")) == "fp32"
        assert layer_precision(layer("Float", "a", "Half")) == "fp32"
        assert layer_precision(layer("Int8", "a", "Half")) == "fp16"

    def test_a_layer_without_tensors(self):
        assert (
            layer_precision({"Name": "signal", "LayerType": "Signal", "Inputs": [], "Outputs": []}) == "unknown"
        )


class TestSummary:
    def test_shares_are_of_operations_not_of_layers(self):
        layers = [layer("Half", "big", "Half"), *(layer("Float", f"small{i}", "Float") for i in range(9))]
        counted = summarise(layers, {"big": 910, **{f"small{i}": 10 for i in range(9)}})
        assert counted.layers == {"fp16": 1, "fp32": 9}
        assert counted.flops == {"fp16": 910, "fp32": 90}
        assert counted.share("fp16") == pytest.approx(0.91)
        prove(counted, "fp16")

    def test_a_fused_name_without_metadata(self):
        assert summarise([OLD], {"trunk/a/Conv": 5}).flops == {"fp16": 5}

    def test_pointwise_wrapping_in_old_names(self):
        wrapped = {**OLD, "Name": "trunk/a/Conv + PWN(PWN(trunk/s/Sigmoid), trunk/m/Mul)"}
        parts = {"trunk/a/Conv": 5, "trunk/s/Sigmoid": 2, "trunk/m/Mul": 1}
        assert summarise([wrapped], parts).flops == {"fp16": 8}

    def test_a_copy_that_carries_the_name_is_not_the_convolution(self):
        copy = layer("Float", "a", layer_type="Reformat")
        assert summarise([copy, layer("Half", "a", "Half")], {"a": 1}).flops == {"fp16": 1}
        assert summarise([copy], {"a": 1}).flops == {"unknown": 1}

    def test_weights_prepared_apart_are_not_the_convolution(self):
        prepared = layer("Float", "a", layer_type="kgen")
        assert summarise([prepared, layer("Half", "a", "Half")], {"a": 1}).flops == {"fp16": 1}

    def test_a_deformable_convolution_is_a_plugin_layer(self):
        half, full = (layer(kind, "dcn", layer_type="PluginV3") for kind in ("Half(64,1:8)", "Float"))
        assert summarise([half], {"dcn": 7}).flops == {"fp16": 7}
        assert summarise([full], {"dcn": 7}).flops == {"fp32": 7}

    def test_what_is_not_told_of_is_unknown_and_named(self):
        counted = summarise([layer("Half", "a", "Half")], {"a": 1, "lost": 2, "bigger": 3})
        assert counted.flops == {"fp16": 1, "unknown": 5}
        assert counted.wide == ("bigger", "lost")


class TestProof:
    def test_a_false_fp16_fails_and_names_the_layers(self):
        counted = summarise([layer("Half", "a", "Half"), layer("Float", "b", "Float")], {"a": 89, "b": 11})
        with pytest.raises(GateFailed, match=r"FP16 .* 89\.0% .* 90%.*: b; no engine"):
            prove(counted, "fp16")

    def test_the_bound_itself_passes(self):
        prove(Precisions({}, {"fp16": 90, "fp32": 10}, ("b",)), "fp16")

    def test_nothing_known_is_no_proof(self):
        with pytest.raises(GateFailed, match=r"0\.0%"):
            prove(Precisions({}, {}, ()), "fp16")

    def test_int8_counts_as_narrow_and_must_be_there(self):
        prove(Precisions({}, {"int8": 60, "fp16": 35, "fp32": 5}, ("c",)), "int8")
        with pytest.raises(GateFailed, match="no convolution"):
            prove(Precisions({}, {"fp16": 100}, ()), "int8")

    def test_a_long_list_is_cut(self):
        names = tuple(f"layer{i}" for i in range(8))
        with pytest.raises(GateFailed, match="layer4 and 3 more"):
            prove(Precisions({}, {"fp32": 8}, names), "fp16")


class TestJson:
    def test_layers(self):
        assert read_layers(json.dumps({"Layers": [OLD, NEW], "Bindings": ["x"]})) == [OLD, NEW]

    @pytest.mark.parametrize(
        "text", ["", "{}", "[1]", "null", '{"Layers": ["names", "only"]}', '{"Layers": []}']
    )
    def test_what_says_nothing(self, text):
        with pytest.raises(GateFailed, match="inspector"):
            read_layers(text)


class TestProfiles:
    def test_layers_of_later_profiles_say_nothing_of_the_first(self):
        later = {**NEW, "Name": "trunk/a/Conv + trunk/a/Relu [profile 12]"}
        assert first_profile([OLD, later, NEW]) == [OLD, NEW]


def test_no_memory_to_inspect_in():
    engine = SimpleNamespace(create_execution_context=lambda: None)
    with pytest.raises(EnvironmentMissing, match="end other programs"):
        engine_information(None, engine, default_profile(640, 640))
