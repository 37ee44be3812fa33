"""The build on a GPU host without ONNX Runtime, Paddle and OpenCV goes through to the proof by the probe.

PSSDET_GPU_HOST_PYTHON names another Python for it, with NumPy, onnx and msgspec: the 3.10 of TensorRT 8.6.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from pssdet.engines.trt.plan.held import COMPUTED, MOVED

PROGRAM = Path(__file__).with_name("build_alone.py")


def build(model, out, *options):
    python = os.environ.get("PSSDET_GPU_HOST_PYTHON", sys.executable)
    return subprocess.run(
        [python, str(PROGRAM), str(model), str(out), *options],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_it_is_proved_by_the_probe(mini_folder, tmp_path):
    done = build(mini_folder, tmp_path / "engine")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["cases"] == [["probe", "detections", True]]
    assert said["versions"]["tensorrt"] == "8.6.0"
    assert said["held"][COMPUTED] > 0
    assert said["held"][MOVED] > 0
    assert (tmp_path / "engine" / "engine.json").is_file()


def test_an_engine_that_differs_from_the_probe_is_not_written(mini_folder, tmp_path):
    done = build(mini_folder, tmp_path / "engine", "--wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "first at detections (probe)" in done.stderr
    assert not (tmp_path / "engine").exists()
    assert (tmp_path / "failed" / "engine" / "model.plan").is_file()
