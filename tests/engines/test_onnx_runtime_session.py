"""What the ONNX Runtime session does for CUDA, as far as a machine without a GPU can tell."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession, _run_bound
from pssdet.errors import EnvironmentMissing


@pytest.fixture
def model(tmp_path):
    """twice = 2 x, whole = round(x) as int32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    outputs = [
        helper.make_tensor_value_info("twice", TensorProto.FLOAT, ["N", 2]),
        helper.make_tensor_value_info("whole", TensorProto.INT32, ["N", 2]),
    ]
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT32),
    ]
    graph = helper.make_graph(nodes, "g", [x], outputs)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return path


@pytest.fixture
def made(monkeypatch, model):
    """Sessions that are asked for CUDA and get the CPU; the providers that were asked for."""
    asked = []
    real = onnxruntime.InferenceSession

    class Session:
        found = ("CUDAExecutionProvider", "CPUExecutionProvider")

        def __init__(self, source, options, providers):
            asked.append(providers)
            self._real = real(source, options, providers=["CPUExecutionProvider"])

        def get_providers(self):
            return self.found

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return asked, Session


def test_float32_is_float32_and_new_shapes_are_quick(made, model):
    asked, _ = made
    OnnxRuntimeSession(model, (), cuda=True)
    (name, options), fallback = asked[0]
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


def test_falling_back_in_silence_is_an_error(made, model):
    _, session = made
    session.found = ["CPUExecutionProvider"]
    with pytest.raises(
        EnvironmentMissing, match=r"fell back to the CPU.*pip install 'onnxruntime-gpu\[cuda,cudnn\]'"
    ):
        OnnxRuntimeSession(model, (), cuda=True)


def test_bound_runs_give_what_others_give(model):
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        feed = {"x": np.arange(2 * count, dtype=np.float32).reshape(2, count).T * np.float32(1.25)}
        assert count == 1 or not feed["x"].flags.c_contiguous
        bound = _run_bound(session, feed, ["twice", "whole"], "cpu")
        for value, wanted in zip(bound, session.run(["twice", "whole"], feed), strict=True):
            np.testing.assert_array_equal(value, wanted)
            assert value.dtype == wanted.dtype


def test_cuda_sessions_are_bound_to_the_device(monkeypatch, made, model):
    devices = []

    def run(session, feed, outputs, device):
        devices.append(device)
        return _run_bound(session, feed, outputs, "cpu")

    monkeypatch.setattr("pssdet.engines.onnx_runtime_session._run_bound", run)
    inputs = {"x": np.ones((1, 2), np.float32), "unused": np.ones(1, np.float32)}
    for cuda in (True, False):
        outputs = OnnxRuntimeSession(model, (), cuda=cuda).run(inputs)
        np.testing.assert_array_equal(outputs["twice"], [[2, 2]])
    assert devices == ["cuda"]
