"""A GPU host may lack every package but NumPy and ONNX: what runs there imports without the others."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("paddle", "msgspec", "cv2", "rich", "onnxruntime", "cyclopts", "hotcoco", "torch", "tensorrt", "cuda")
PROGRAM = f"""
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*command):
    """A script in a Python without those packages."""
    program = [sys.executable, "-c", PROGRAM, *command]
    return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("script", ["engines.py", "detection_kernels.py", "dcnv2.py", "pack.py", "collect.py"])
def test_help(script):
    done = run(f"benchmarks/gpu/{script}", "--help")
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


@pytest.mark.parametrize(("script", "arguments"), [("engines.py", ["mini"]), ("detection_kernels.py", [])])
@pytest.mark.parametrize("option", ["--bundles", "--parcels"])
def test_without_a_gpu_or_its_packages(script, arguments, option, tmp_path):
    done = run(f"benchmarks/gpu/{script}", *arguments, option, str(tmp_path))
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_packing_says_what_is_missing(tmp_path):
    done = run("benchmarks/gpu/pack.py", str(tmp_path), "--cases", "row4")
    assert done.returncode == 3, done.stderr
    assert "packing needs every package" in done.stderr


def test_a_bundle_is_read_and_filled_there(tmp_path):
    """With NumPy and ONNX alone: the pictures, the expectations, the parameters; the rewrite, too."""
    script = tmp_path / "there.py"
    script.write_text(
        f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "src")!r}]
import numpy as np, onnx
from onnx import numpy_helper
from pathlib import Path
from benchmarks.gpu.seeded_weights import strip_weights
from benchmarks.gpu.bundle import OUTPUTS, Case, Bundle, Picture, write_bundle
from benchmarks.gpu import engine_report, engine_steps
import pssdet.engines.trt.graph.rewrite, pssdet.engines.trt.runtime.session
import pssdet.engines.trt.plan.builder, pssdet.engines.devices
weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
model = onnx.ModelProto(ir_version=9, graph=onnx.GraphProto(initializer=[weight]))
picture = Picture(np.zeros((40, 50, 3), np.uint8), (40.0, 50.0), 1.0)
case = Case("a", "b", True, (0.5,) * 3, (0.5,) * 3, (), ("onnxruntime",), (1,), {{}})
outputs = {{name: np.zeros(1) for name in OUTPUTS}}
write_bundle(Path({str(tmp_path)!r}), case, strip_weights(model), [picture], {{"onnxruntime": [outputs]}})
bundle = Bundle(Path({str(tmp_path)!r}))
assert numpy_helper.to_array(bundle.model().graph.initializer[0]).shape == (64, 64)
assert bundle.case.inputs(bundle.pictures)["image"].shape == (1, 3, 64, 64)
print("read")
"""
    )
    done = run(str(script))
    assert done.stdout == "read\n", done.stderr
