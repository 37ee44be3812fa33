"""The IR: standard operators only, ``DeformConv`` as ONNX defines it, and nodes held to float32."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pssdet.engines.ov.conversion import compute_precision, save_ir, to_openvino
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import sample_batches
from pssdet.models.stages import tap_names

openvino = pytest.importorskip("openvino")

#: Runs an IR with OpenVINO alone, in a process that cannot import this project.
STOCK = """
import sys, numpy, openvino
assert not any("pss" in path for path in sys.modules)
inputs = dict(numpy.load(sys.argv[2]))
compiled = openvino.compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
results = compiled({node: inputs[node.get_node().get_friendly_name()] for node in compiled.inputs})
numpy.savez(sys.argv[3], **{output.get_any_name(): value for output, value in results.items()})
"""


@pytest.fixture(scope="module")
def ir(mini_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("ir") / "model.xml"
    taps = tap_names(read_model_card(mini_folder).architecture)
    save_ir(to_openvino(onnx.load(mini_folder / "model.onnx"), taps), path, "f32")
    return path


def test_stock_openvino_reads_it(ir, mini_folder, tmp_path):
    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession

    card = read_model_card(mini_folder)
    _, inputs = next(sample_batches(card.preprocessing))
    np.savez(tmp_path / "inputs.npz", **inputs)
    command = [sys.executable, "-I", "-c", STOCK, ir, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected = OnnxRuntimeSession(mini_folder / "model.onnx", (), cuda=False).run(inputs)
    with np.load(tmp_path / "outputs.npz") as obtained:
        np.testing.assert_array_equal(obtained["count"], expected["count"])
        np.testing.assert_allclose(obtained["scores"], expected["scores"], atol=1e-4)
        np.testing.assert_allclose(obtained["boxes"], expected["boxes"], atol=0.05)


def test_stock_openvino_computes_in_what_the_documents_pass(ir, tmp_path, monkeypatch):
    """By itself it would take bfloat16 on a CPU that has it."""
    text = (Path(__file__).parents[3] / "docs" / "precision.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shutil.copytree(ir.parent, tmp_path / "artifacts" / "mini_faster" / "openvino-fp32")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["compiled"].get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_operators_and_interface(ir, mini_folder):
    model = openvino.Core().read_model(ir)
    kinds = {node.get_type_name() for node in model.get_ops()}
    versions = {node.get_type_info().version_id for node in model.get_ops()}
    assert "DeformableConvolution" in kinds
    assert all(version.startswith("opset") for version in versions)
    card = read_model_card(mini_folder)
    names = [node.get_node().get_friendly_name() for node in model.inputs]
    assert {"image", "image_size"} <= set(names) <= {record.name for record in card.inputs}
    assert {output.get_any_name() for output in model.outputs} == {record.name for record in card.outputs}
    kept = {name for node in model.get_ops() for output in node.outputs() for name in output.get_names()}
    assert set(tap_names(card.architecture)) <= kept
    assert compute_precision(model) == "f32"


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(
    ("strides", "pads", "dilations", "groups", "with_mask"),
    [
        ([1, 1], [1, 1, 1, 1], [1, 1], 1, True),
        ([2, 2], [1, 1, 1, 1], [1, 1], 1, False),
        ([1, 2], [0, 1, 2, 1], [2, 1], 2, True),
    ],
)
def test_deform_conv_is_that_of_onnx(strides, pads, dilations, groups, with_mask, with_bias):
    import onnxruntime

    draw = np.random.default_rng(0)
    extent = [2 * dilation + 1 for dilation in dilations]
    size = [(9 + pads[i] + pads[i + 2] - extent[i]) // strides[i] + 1 for i in (0, 1)]
    arrays = {
        "x": draw.standard_normal((2, 8, 9, 9)),
        "offset": draw.normal(0, 3, (2, 18 * groups, *size)),
        "mask": draw.uniform(0, 1, (2, 9 * groups, *size)),
    }
    weights = draw.standard_normal((4, 8, 3, 3)).astype(np.float32)
    bias = draw.standard_normal(4).astype(np.float32)
    names = ["x", "w", "offset", "b" if with_bias else "", *(["mask"] if with_mask else [])]
    node = helper.make_node(
        "DeformConv", names, ["y"], name="trunk/DeformConv_0", kernel_shape=[3, 3], strides=strides, pads=pads,
        dilations=dilations, offset_group=groups,
    )  # fmt: skip
    given = ["x", "offset", *(["mask"] if with_mask else [])]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, 1, arrays[name].shape) for name in given],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(weights, "w"), *([numpy_helper.from_array(bias, "b")] if with_bias else [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    feed = {name: arrays[name].astype(np.float32) for name in given}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, feed)
    compiled = openvino.compile_model(to_openvino(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (obtained,) = compiled(feed).values()
    np.testing.assert_allclose(obtained, expected, atol=1e-4)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("consumers", [0, 1, 2])
def test_a_deform_conv_keeps_its_name(with_bias, consumers):
    """Also without a bias in front of a sum, which is no sum with a bias, and in front of several nodes."""
    names = ["x", "w", "offset", *(["b"] if with_bias else [])]
    convolution = helper.make_node("DeformConv", names, ["y"], name="trunk/DeformConv_0", kernel_shape=[1, 1])
    sums = [
        helper.make_node("Add", ["y", "x"], [f"sum{number}"], name=f"trunk/Add_{number}")
        for number in range(consumers)
    ]
    ones = {"w": np.ones((2, 2, 1, 1), np.float32), "b": np.ones(2, np.float32)}
    graph = helper.make_graph(
        [convolution, *sums],
        "one",
        [helper.make_tensor_value_info(name, 1, (1, 2, 4, 4)) for name in ("x", "offset")],
        [helper.make_tensor_value_info(each.output[0], 1, None) for each in sums or [convolution]],
        [numpy_helper.from_array(value, name) for name, value in ones.items() if name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    named = {"Add": set(), "DeformableConvolution": set()}
    for node in to_openvino(model).get_ops():
        named.get(node.get_type_name(), set()).add(node.get_friendly_name())
    assert named == {
        "Add": {node.name for node in sums} | ({convolution.name} if with_bias else set()),
        "DeformableConvolution": {convolution.name + ("/WithoutBiases" if with_bias else "")},
    }


def test_the_given_model_stays_as_it_is(mini_folder):
    model = onnx.load(mini_folder / "model.onnx")
    before = model.SerializeToString()
    to_openvino(model, ["c2"])
    assert model.SerializeToString() == before
