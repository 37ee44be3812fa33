"""Engines of one layer: built by stubs of TensorRT's builder, run by ONNX Runtime in its place."""

import json
import sys

import fake_trt_build
import numpy as np
import onnx
import onnxruntime
import pytest

from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.errors import EnvironmentMissing
from pssdet.validation.gpu_check import engines, layer_engines
from pssdet.validation.gpu_check.detection import SHAPES
from pssdet.validation.gpu_check.layer_engines import build, layer_case, run
from pssdet.validation.gpu_check.plan import LAYERS, Given

PLUGIN = {
    "deform-conv": "PssDetDeformConv2d",
    "proposals": "PssDetGenerateProposals",
    "roi-align": "PssDetMultilevelRoiAlign",
    "nms": "PssDetMulticlassNms",
}


class Device:
    name = "NVIDIA Stub 1"


@pytest.fixture
def trt(request, monkeypatch, tmp_path):
    """A TensorRT that builds; the library of plugins is a file."""
    library = tmp_path / "libpssdet_plugins.so"
    library.write_bytes(b"plugins")
    monkeypatch.setenv("PSSDET_PLUGINS", str(library))
    monkeypatch.setattr(engines, "BareDevice", Device)
    monkeypatch.setattr("pssdet.engines.trt.plan.builder.load_plugins", lambda trt, path: None)
    return fake_trt_build.install(monkeypatch, getattr(request, "param", "10.4.0"))


class Session:
    """A layer's exported model in ONNX Runtime; ``alter`` is given each run's outputs and its number."""

    models = None
    alter = staticmethod(lambda outputs, number: outputs)
    graph_fallback = None

    def __init__(self, plan, *, plugins):
        assert plan.is_file()
        assert (plugins is None) == plan.name.startswith("convolution")
        name = plan.stem.rpartition("-")[0]
        content = self.models[name].SerializeToString()
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.runs = 0

    def run(self, inputs):
        self.runs += 1
        names = [output.name for output in self.session.get_outputs()]
        return self.alter(dict(zip(names, self.session.run(None, inputs), strict=True)), self.runs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def session(monkeypatch, bundles):
    models = {name: layer_case(name, bundles).model for name in LAYERS}
    made = type("OfLayers", (Session,), {"models": models})
    monkeypatch.setattr(layer_engines, "TensorRTSession", made)
    return made


def given(name, bundles, tmp_path):
    return Given(bundles, tmp_path, name)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("trt", ["8.6.0", "10.4.0", "11.1.0"], indirect=True)
def test_built_in_both_precisions_and_opened_again(name, trt, bundles, tmp_path, session):
    found = build(given(name, bundles, tmp_path))
    assert found.failures == []
    assert json.dumps(found.figures)
    assert {precision: each["route"] for precision, each in found.figures.items()} == {
        "fp32": "plain" if trt.major == 8 else "typed",
        "fp16": "flags" if trt.major == 8 else "typed",
    }
    operators = {node.op_type for node in trt.network.model.graph.node}
    assert set(PLUGIN.values()) & operators == ({PLUGIN[name]} if name in PLUGIN else set())
    findings = run(given(name, bundles, tmp_path))
    assert findings.failures == []
    assert findings.figures == {"runs": 12}


@pytest.mark.parametrize("name", ["proposals", "roi-align", "deform-conv"])
def test_the_plugins_read_half_maps(name, trt, bundles, tmp_path):
    build(given(name, bundles, tmp_path))
    graph = trt.network.model.graph
    node = next(node for node in graph.node if node.op_type == PLUGIN[name])
    makers = {output: each for each in graph.node for output in each.output}
    first = makers[node.input[0]]
    half = onnx.TensorProto.FLOAT16
    if first.op_type == "Cast":
        assert first.attribute[0].i == half
    else:
        source = makers[first.input[0]]
        assert (source.op_type, source.attribute[0].i) == ("Cast", half)


@pytest.mark.parametrize("name", LAYERS)
def test_the_profile_takes_every_shape(name, bundles):
    case = layer_case(name, bundles)
    profile = case.profile()
    for shape in SHAPES:
        for tensor, values in case.inputs(*shape).items():
            assert profile.range_of(tensor).takes(values.shape)
    assert {tensor.name for tensor in case.model.graph.input} == set(profile.ranges)
    plugin_graph(case.model)


class TestFaults:
    def failures(self, bundles, tmp_path, name="deform-conv"):
        build(given(name, bundles, tmp_path))
        return run(given(name, bundles, tmp_path)).failures

    def test_wrong_values(self, trt, session, bundles, tmp_path):
        session.alter = staticmethod(lambda outputs, _: {name: 1.01 * each for name, each in outputs.items()})
        failures = self.failures(bundles, tmp_path)
        assert len(failures) == 4
        assert failures[0].startswith("fp32, 1 of (96, 128): relative error 1.0e-02, the limit is 5e-05")

    def test_a_graph_that_gives_something_else(self, trt, session, bundles, tmp_path):
        def alter(outputs, number):
            return {name: each + np.float32(1e-6 * (number % 3 == 0)) for name, each in outputs.items()}

        session.alter = staticmethod(alter)
        assert (
            self.failures(bundles, tmp_path)[0] == "fp32, 1 of (96, 128): its CUDA graph gives something else"
        )

    def test_no_graph(self, trt, session, bundles, tmp_path):
        session.graph_fallback = "the engine's work cannot be recorded"
        assert self.failures(bundles, tmp_path, "convolution") == [
            "fp32: the engine's work cannot be recorded",
            "fp16: the engine's work cannot be recorded",
        ]

    def test_detections_that_are_off(self, trt, session, bundles, tmp_path):
        session.alter = staticmethod(lambda outputs, _: outputs | {"boxes": outputs["boxes"] + np.float32(1)})
        assert all("must be" in failure for failure in self.failures(bundles, tmp_path, "nms"))

    def test_without_the_bundle(self, trt, tmp_path):
        with pytest.raises(EnvironmentMissing, match="gpu-check --pack"):
            build(given("nms", tmp_path, tmp_path))


def test_a_convolution_needs_no_plugins(trt, bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_PLUGINS", str(tmp_path / "nowhere.so"))
    assert build(given("convolution", tmp_path, tmp_path)).failures == []
    assert sys.modules["tensorrt"] is trt
