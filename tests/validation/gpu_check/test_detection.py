"""The step about the detection kernels, with their own source run by the emulator; the ONNX functions."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from fake_gpu import NumpyDevice
from parallel import shared_folder

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.detection import DetectionLibrary
from pssdet.validation.gpu_check.detection import (
    SHAPES,
    check_features,
    check_kernels,
    check_rows,
    setting_of,
)
from pssdet.validation.gpu_check.detection_cases import KERNELS, Setting, computed, drawn_inputs, single_call

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(mini_folder):
    return onnx.load(mini_folder / "model.onnx")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    beside_python = Path(sys.executable).with_name("cmake")
    cmake = str(beside_python) if beside_python.is_file() else shutil.which("cmake")
    if not cmake or not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no cmake or no C++ compiler")

    def build(folder):
        target = ["--build", folder, "--target", "pssdet_emulated"]
        for step in (["-S", ROOT, "-B", folder, "-DPSSDET_CUDA=OFF"], target):
            subprocess.run([cmake, *step], check=True, stdout=subprocess.DEVNULL)

    # The name of the plugins' tests: workers share what either of them builds.
    folder = shared_folder(tmp_path_factory, "cmake-pssdet_emulated", build)
    return DetectionLibrary(folder / "lib" / "libpssdet_emulated.so")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_onnxs_evaluator_computes_what_onnx_runtime_does(model, kernel, shape):
    batch, size = shape
    setting = setting_of(model).at(size)
    tensors = drawn_inputs(setting, kernel, batch, half=True)
    call = single_call(model, setting, kernel, tensors)
    ours = computed(call, tensors)
    session = onnxruntime.InferenceSession(call.SerializeToString(), providers=["CPUExecutionProvider"])
    given = {name: values.astype(np.float32) for name, values in tensors.items()}
    theirs = dict(zip(KERNELS[kernel], session.run(None, given), strict=True))
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-4, err_msg=name)
    if kernel != "roi_align":
        assert ours["count"].min() > 3


def test_a_model_without_the_functions():
    with pytest.raises(BadInput, match="does not call GenerateProposals"):
        Setting.of(onnx.ModelProto(), "nothing", (96, 128), 8, 4)


def test_the_settings_are_the_detectors(model):
    setting = setting_of(model)
    assert (setting.channels, setting.classes, setting.box_classes) == (8, 4, 4)
    assert (setting.regions, setting.at((64, 96)).regions) == (setting.proposals["post_nms_top_n"], 24)


def test_every_kernel_in_every_format_gives_the_functions_rows(model, library):
    findings = check_kernels(NumpyDevice(), library, model)
    assert findings.failures == []
    assert findings.figures == {"launches": len(SHAPES) * 7}


class Fault(NumpyDevice):
    """Alters what comes back from the device."""

    def __init__(self, alter):
        super().__init__()
        self.alter, self.taken = alter, 0

    def take(self, array):
        self.taken += 1
        return self.alter(np.array(array), self.taken)


def test_boxes_and_features_that_are_off(model, library):
    def alter(values, _):
        return values + values.dtype.type(0.5) if values.dtype != np.int32 and values.ndim > 2 else values

    failures = check_kernels(Fault(alter), library, model).failures
    assert len([failure for failure in failures if "must be" in failure]) == len(SHAPES) * 7


def test_a_launch_that_is_refused(model, library, monkeypatch):
    def refuse(*_, **__):
        raise EnvironmentMissing("the GPU refused the launch")

    monkeypatch.setattr(library, "roi_align", refuse)
    failures = check_kernels(NumpyDevice(), library, model).failures
    assert len(failures) == len(SHAPES) * 3
    assert failures[0] == "roi_align, fp32 NCHW, 1 of (96, 128): the GPU refused the launch"


def test_runs_that_differ(model, library):
    def alter(values, number):
        return values * values.dtype.type(1 + 1e-4 * (number % 2)) if values.dtype == np.float32 else values

    assert any("two runs differ" in failure for failure in check_kernels(Fault(alter), library, model).failures)


class TestChecks:
    def rows(self, **changes):
        found = {
            "boxes": np.float32([[[0, 0, 9, 9], [5, 5, 20, 20]]]),
            "scores": np.float32([[0.9, 0.4]]),
            "labels": np.int32([[1, 2]]),
            "count": np.int32([2]),
        }
        return {**found, **changes}

    def failures(self, **changes):
        return check_rows(self.rows(), self.rows(**changes), "boxes")

    def test_equal_rows(self):
        assert self.failures() == []

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"count": np.int32([1])}, "counts are"),
            ({"labels": np.int32([[1, 3]])}, "1 of 2 rows"),
            ({"scores": np.float32([[0.9, 0.41]])}, "1 of 2 rows"),
            ({"scores": np.float32([[0.4, 0.9]])}, "do not fall"),
            ({"boxes": np.float32([[[0, 0, 9, 9], [5, 5, 20, 20.1]]])}, "1 of 2 rows"),
            ({"boxes": np.full((1, 2, 4), np.nan, np.float32)}, "not written"),
            ({"count": np.int32([-7])}, "counts are"),
        ],
    )
    def test_what_is_wrong_is_found(self, changes, word):
        assert any(word in failure for failure in self.failures(**changes))

    def test_nothing_to_be_found_is_no_pass(self):
        nothing = self.rows(count=np.int32([0]))
        assert check_rows(nothing, nothing, "boxes") == [
            "there is nothing to be found, so nothing was compared"
        ]

    def test_features(self):
        wanted = np.random.RandomState(0).standard_normal((100, 2, 3, 3))
        assert check_features(wanted, wanted.astype(np.float32), "fp32") == []
        wrong = wanted.astype(np.float32)
        wrong[:3] += 1
        assert check_features(wanted, wrong, "fp32") == ["97 of 100 regions within 1e-04, 98% must be"]
        wrong[0] = np.nan
        assert "not written" in check_features(wanted, wrong, "fp32")[0]
