"""The runtimes' packages send usage events when they are imported; here they leave no trace of that."""

import os
import subprocess
import sys

import pytest

LOAD = """
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.ov.session import OpenVinoSession
import onnxruntime, openvino, sys
onnxruntime.SessionOptions()
assert "openvino_telemetry" not in sys.modules
import openvino_telemetry  # others can have it
"""


def test_nothing_is_left_in_the_home(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", LOAD], check=True, env={**environment, "HOME": str(tmp_path)})
    assert not list(tmp_path.iterdir())
