"""The benchmark of the detection kernels, whole, with the kernels' own source run by the emulator."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import NumpyDevice
from parallel import shared_folder

from benchmarks.gpu import detection_kernels, detection_steps
from benchmarks.gpu.detection_cases import Setting, nms_inputs, proposals_inputs, roi_align_inputs
from benchmarks.gpu.detection_steps import KernelBench, KernelBundle, check_features, check_rows
from benchmarks.gpu.pack import setting_of, write_kernels
from benchmarks.gpu.seeded_weights import digest
from pssdet.plugins.bindings.detection import DetectionLibrary

ROOT = Path(__file__).resolve().parents[2]


def tiny(name, model, box_classes):
    """A row's conventions, with few of everything."""
    whole = setting_of(model, (96, 128))
    proposals = {**whole.proposals, "pre_nms_top_n": 40, "post_nms_top_n": 24}
    nms = {**whole.nms, "max_detections": 10}
    return Setting(name, (96, 128), 8, 4, box_classes, proposals, whole.roi_align, nms)


@pytest.fixture(scope="module")
def settings():
    return [
        tiny("dygraph", "faster_rcnn_enhance_3x_coco", 4),
        tiny("static cascade", "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side", 1),
    ]


@pytest.fixture(scope="module")
def bundles(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "kernels").mkdir()
    write_kernels(folder / "kernels", settings)
    return folder


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


def run(output, bundles, library, device=None, batches=()):
    def make(bundle):
        return KernelBench(
            device or NumpyDevice(), library, KernelBundle(bundle), iterations=2, batches=batches
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection_steps, "_PER_RECORD", 2)
        return detection_kernels.main(["--bundles", str(bundles), "--output", str(output)], make)


def test_without_a_bundle(library, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "nothing", library) == 2
    assert "pack.py" in capsys.readouterr().err


def stored(folder):
    return json.loads((folder / "kernels_stub_1.json").read_text())


@pytest.fixture(scope="module")
def done(bundles, library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    assert run(folder, bundles, library, batches=(1, 2)) == 0
    return folder


class TestRun:
    def test_all_steps(self, done):
        names = ["dygraph", "static cascade"]
        times = [f"times {name} N={batch}" for name in names for batch in (1, 2)]
        assert list(stored(done)["steps"]) == [*(f"correctness {name}" for name in names), *times]

    def test_every_kernel_in_every_format_gives_the_functions_rows(self, done):
        for name in ("dygraph", "static cascade"):
            rows = stored(done)["steps"][f"correctness {name}"]["result"]["rows"]
            forms = ["fp32 NCHW", "fp16 NCHW", "fp16 NHWC"]
            kernels = [*(("proposals", form) for form in forms), *(("roi_align", form) for form in forms)]
            assert [(row["kernel"], row["format"]) for row in rows] == [*kernels, ("nms", "fp32 NCHW")]
            assert all(row["rows"] == row["matched"] > 0 for row in rows)

    def test_times_are_of_one_launch(self, done):
        times = stored(done)["steps"]["times dygraph N=2"]["result"]["times"]
        assert len(times) == 7
        assert all(timing["sets"] == 2 for timing in times.values())

    def test_the_report(self, done):
        text = (done / "kernels_stub_1.md").read_text()
        assert text.startswith("# Detection kernels on NVIDIA Stub 1\n")
        assert "14 launches compared with the ONNX functions, 0 failures." in text
        assert "| dygraph N=1 | proposals fp16 NHWC |" in text

    def test_a_finished_run_does_nothing(self, done, bundles, library, capsys):
        assert run(done, bundles, library, batches=(1, 2)) == 0
        assert "0 of 6 steps to do" in capsys.readouterr().out


class Fault(NumpyDevice):
    """Alters what comes back from the device."""

    def __init__(self, alter):
        super().__init__()
        self.alter, self.taken = alter, 0

    def take(self, array):
        self.taken += 1
        return self.alter(np.array(array), self.taken)


class TestFaults:
    def test_boxes_and_features_that_are_off(self, bundles, library, tmp_path, capsys):
        def alter(values, _):
            return values + values.dtype.type(0.5) if values.dtype != np.int32 and values.ndim > 2 else values

        assert run(tmp_path, bundles, library, Fault(alter)) == 1
        rows = stored(tmp_path)["steps"]["correctness dygraph"]["result"]["rows"]
        assert all(any("must be" in failure for failure in row["failures"]) for row in rows)
        assert "checks failed" in capsys.readouterr().err

    def test_runs_that_differ(self, bundles, library, tmp_path):
        def alter(values, number):
            return values * values.dtype.type(1 + 1e-4 * (number % 2)) if values.dtype == np.float32 else values

        assert run(tmp_path, bundles, library, Fault(alter)) == 1
        rows = stored(tmp_path)["steps"]["correctness dygraph"]["result"]["rows"]
        assert any("two runs differ" in row["failures"] for row in rows)

    def test_other_tensors_than_those_at_home(self, bundles, library, tmp_path, capsys):
        folder = tmp_path / "bundles" / "kernels"
        shutil.copytree(bundles / "kernels", folder)
        card = json.loads((folder / "case.json").read_text())
        card["inputs"] = dict.fromkeys(card["inputs"], "0" * 64)
        (folder / "case.json").write_text(json.dumps(card))
        assert run(tmp_path, tmp_path / "bundles", library) == 1
        assert "not those drawn at home" in capsys.readouterr().err

    def test_an_altered_bundle(self, bundles, library, tmp_path, capsys):
        folder = tmp_path / "bundles" / "kernels"
        shutil.copytree(bundles / "kernels", folder)
        (folder / "expected.npz").write_bytes(b"x")
        assert run(tmp_path, tmp_path / "bundles", library) == 2
        assert "not what was packed" in capsys.readouterr().err


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
        return check_rows(self.rows(), self.rows(**changes), "boxes")["failures"]

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

    def test_features(self):
        wanted = np.random.RandomState(0).standard_normal((100, 2, 3, 3))
        assert check_features(wanted, wanted.astype(np.float32), "fp32")["failures"] == []
        wrong = wanted.astype(np.float32)
        wrong[:3] += 1
        assert check_features(wanted, wrong, "fp32")["failures"] == [
            "97 of 100 regions within 1e-04, 98% must be"
        ]
        wrong[0] = np.nan
        assert "not written" in check_features(wanted, wrong, "fp32")["failures"][0]


def test_drawn_tensors_are_the_same_on_every_machine(settings):
    """A change of these makes every bundle another."""
    setting = settings[0]
    tensors = {
        **proposals_inputs(setting, 2, half=True),
        **roi_align_inputs(setting, 2, half=False),
        **nms_inputs(setting, 2),
    }
    assert digest(tensors).startswith("eed0080442578f16")
