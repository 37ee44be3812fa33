"""Layers of a parsed network that are constrained to float32."""

from types import SimpleNamespace

from pssdet.engines.trt.plan.network import constrain_to_float32

TRT = SimpleNamespace(float32="FLOAT", float16="HALF")


def test_a_plugin_with_integer_outputs_is_found_and_left_to_its_own_rules():
    def layer(name, *types):
        outputs = [SimpleNamespace(dtype=each, is_shape_tensor=False) for each in types]
        return SimpleNamespace(
            name=name,
            metadata="",
            type=SimpleNamespace(name="PLUGIN_V3"),
            precision=None,
            num_outputs=len(outputs),
            get_output=outputs.__getitem__,
            set_output_type=lambda _, dtype: chosen.append((name, dtype)),
        )

    chosen = []
    layers = [layer("nms", TRT.float32, "INT32"), layer("deform", TRT.float32)]
    network = SimpleNamespace(num_layers=2, get_layer=layers.__getitem__)
    assert constrain_to_float32(TRT, network, {"nms", "deform"}) == {"nms", "deform"}
    assert [each.precision for each in layers] == [None, TRT.float32]
    assert chosen == [("deform", TRT.float32)]
