"""A GPU host may lack every package but NumPy and ONNX: what runs there imports without the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ABSENT = ("paddle", "msgspec", "cv2", "rich", "onnxruntime", "cyclopts", "hotcoco", "torch", "tensorrt", "cuda")
#: In every Python that is started with this folder on its path, the steps' own included.
CUSTOMISED = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Runs a command in a Python without those packages."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(CUSTOMISED)
    path = os.pathsep.join(map(str, (folder, ROOT, ROOT / "src")))

    def run(*command):
        words = [sys.executable, *map(str, command)]
        environment = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(words, check=False, cwd=folder, capture_output=True, text=True, env=environment)

    return run


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "pssdet.validation.gpu_check"],
        [ROOT / "benchmarks/gpu/run.py"],
        [ROOT / "benchmarks/gpu/collect.py"],
    ],
)
def test_help(bare, command):
    done = bare(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


@pytest.mark.parametrize(
    "command", [["-m", "pssdet.validation.gpu_check"], [ROOT / "benchmarks/gpu/run.py", "row4"]]
)
def test_without_a_gpu(bare, command, tmp_path):
    done = bare(*command, "--bundles", tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: nothing was checked: there is no NVIDIA GPU")
    assert "what would have run:" in done.stdout


def test_without_numpy_it_says_so(bare):
    blocked = "import sys, runpy; sys.modules['numpy'] = None; sys.argv[1:] = []; "
    done = bare("-c", f"{blocked}runpy.run_module('pssdet.validation.gpu_check', run_name='__main__')")
    assert done.returncode == 3
    assert done.stderr == "error: numpy is not installed; pip install numpy onnx cuda-bindings\n"


def test_packing_says_what_is_missing(bare, tmp_path):
    done = bare("-m", "pssdet.validation.gpu_check", "--pack", "--bundles", tmp_path, "--cases", "row4")
    assert done.returncode == 3, done.stderr
    assert "packing needs every package" in done.stderr


def test_every_step_imports(bare, tmp_path):
    script = tmp_path / "steps.py"
    script.write_text(
        """
import importlib
from benchmarks.gpu.steps import STEPS as BENCHMARKS
from pssdet.validation.gpu_check.plan import STEPS
works = {step.work for step in (*STEPS, *BENCHMARKS)}
for work in works:
    module, _, name = work.partition(":")
    assert callable(getattr(importlib.import_module(module), name)), work
print(len(works))
"""
    )
    done = bare(script)
    assert done.stderr == ""
    assert int(done.stdout) >= 12


def test_a_bundle_is_read_and_filled_there(bare, tmp_path):
    """With NumPy and ONNX alone: the pictures, the expectations, the parameters; the rewrite, too."""
    script = tmp_path / "there.py"
    script.write_text(
        f"""
import numpy as np, onnx
from onnx import numpy_helper
from pathlib import Path
from pssdet.validation.gpu_check.seeded_weights import strip_weights
from pssdet.validation.gpu_check.bundle import OUTPUTS, Case, Bundle, Picture, write_bundle
import pssdet.engines.trt.graph.rewrite, pssdet.engines.trt.runtime.session
import pssdet.engines.trt.plan.builder, pssdet.engines.devices
weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
model = onnx.ModelProto(ir_version=9, graph=onnx.GraphProto(initializer=[weight]))
picture = Picture(np.zeros((40, 50, 3), np.uint8), (40.0, 50.0), 1.0)
case = Case("a", "b", True, (0.5,) * 3, (0.5,) * 3, (), {{}}, ("onnxruntime",), (1,), {{}})
outputs = {{name: np.zeros(1) for name in OUTPUTS}}
write_bundle(Path({str(tmp_path)!r}), case, strip_weights(model), [picture], {{"onnxruntime": [outputs]}})
bundle = Bundle(Path({str(tmp_path)!r}))
assert numpy_helper.to_array(bundle.model().graph.initializer[0]).shape == (64, 64)
assert bundle.case.inputs(bundle.pictures)["image"].shape == (1, 3, 64, 64)
print("read")
"""
    )
    done = bare(script)
    assert done.stdout == "read\n", done.stderr


def test_engines_are_built_and_layers_computed_there(bare, bundles, tmp_path):
    """The steps' own work, with a stub of TensorRT."""
    (tmp_path / "plugins.so").write_bytes(b"plugins")
    script = tmp_path / "builds.py"
    script.write_text(
        f"""
import os, sys
sys.path.append({str(ROOT / "tests" / "fakes")!r})
os.environ["PSSDET_PLUGINS"] = {str(tmp_path / "plugins.so")!r}
import fake_trt_build
sys.modules["tensorrt"] = fake_trt_build.FakeTensorRT("8.6.0")
from pathlib import Path
from pssdet.engines.trt.plan import builder
from pssdet.validation.gpu_check import engines, layer_engines, model_engines
from pssdet.validation.gpu_check.detection import SHAPES
from pssdet.validation.gpu_check.plan import LAYERS, Given
class Device:
    name = "Stub 1"
engines.BareDevice = Device
builder.load_plugins = lambda trt, path: None
bundles, work = Path({str(bundles)!r}), Path({str(tmp_path)!r})
for name in LAYERS:
    assert layer_engines.build(Given(bundles, work, name)).failures == []
    case = layer_engines.layer_case(name, bundles)
    assert case.expected(case.inputs(*SHAPES[1]))
for argument in ("mini fp32", "mini fp16", "row4 fp16"):
    assert model_engines.build(Given(bundles, work, argument)).failures == []
print("built")
"""
    )
    done = bare(script)
    assert done.stdout == "built\n", done.stderr


def test_an_export_becomes_a_bundle_without_paddle_and_onnx_runtime(artifacts, tmp_path):
    """On a host with this project's own dependencies, to which the export alone was copied."""
    script = tmp_path / "host.py"
    blocked = CUSTOMISED.replace(repr(ABSENT), repr(("paddle", "onnxruntime")))
    script.write_text(
        f"""{blocked}
import os
os.chdir({str(tmp_path)!r})
os.symlink({str(artifacts)!r}, "artifacts")
from pathlib import Path
from pssdet.validation.gpu_check import machine
from pssdet.validation.gpu_check.plan import Given
print(*machine.bundles(Given(Path("bundles"), Path("work"), "")).figures["identity"])
"""
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, str(script)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1:] == ["bundle mini"], done.stderr
