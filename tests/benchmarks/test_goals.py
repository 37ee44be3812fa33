"""Goals and the benchmarks' steps. Every figure here is test data."""

from pathlib import Path

import pytest
from fake_gpu import FakeKernels, NumpyDevice

from benchmarks.gpu import dcnv2, detection_kernels, run
from benchmarks.gpu.dcnv2 import sets_needed
from benchmarks.gpu.goals import DETECTION, goal_table, goals
from benchmarks.gpu.steps import BENCHMARKS, STEPS, sums_name
from pssdet.validation.gpu_check.model_engines import KINDS
from pssdet.validation.gpu_check.plan import Given
from pssdet.validation.gpu_check.runner import Outcome, Results
from pssdet.validation.gpu_check.shapes import SIZES, Layer, Problem, layers

ROOT = Path(__file__).resolve().parents[2]
MAIN = SIZES[0]


def results(gpu="NVIDIA H200", one=100.0, eight=400.0, **changes):
    """Results of a whole run."""
    found = {"driver": {"identity": {"GPU": gpu}}}
    for batch, ours in ((1, one), (8, eight)):
        times = {
            "fp16 NHWC": ours,
            "fp16 NHWC, raw": 0.9 * ours,
            "torchvision": 5 * ours,
            "convolution": 0.8 * ours,
        }
        found[sums_name(50, MAIN, batch)] = {"median_us": times}
    found["row4-fp16-times"] = {
        "N=1": {"median_us": 1100.0},
        "N=8": {"median_us": 8 * 340.0},
        "N=1, shares": {"NMS": 0.05, "proposals": 0.04, "decoding": 0.02, "trunk": 0.89},
        "N=8, shares": {"NMS": 0.1, "RoIAlign": 0.06, "trunk": 0.84},
    }
    found["row4-no_dcn-times"] = {"N=1": {"median_us": 1040.0}, "N=8": {"median_us": 8 * 300.0}}
    found["scenes"] = {"paddle": {"share": 0.991, "detections": 200}}
    found |= changes
    return Results("1", "never", {name: Outcome("PASS", figures=figures) for name, figures in found.items()})


AP = {"verdict": "PASS", "reason": "within the margin"}


def verdicts(found, ap=AP):
    return [goal.verdict for goal in goals(found, ap)]


class TestGoals:
    def test_all(self):
        found = goals(results(), AP)
        assert [goal.verdict for goal in found] == [
            *("met", "met", "met", "met", "not measured", "not measured", "met", "met"),
            *("met", "met", "met", "missed", "met", "missed", "met", "met"),
        ]
        assert [goal.measured for goal in found] == [
            *("400 us", "100 us", "5.0 times", "5.0 times", "-", "-", "1.25 times", "1.25 times"),
            *("1.100 ms", "0.340 ms", "11.0%", "16.0%", "+5.8%", "+13.3%"),
            *("99.10% of 200", "PASS: within the margin"),
        ]

    @pytest.mark.parametrize(("one", "eight", "place"), [(121, 400, 1), (100, 416, 0)])
    def test_limits(self, one, eight, place):
        assert verdicts(results(one=one, eight=eight))[place] == "missed"

    def test_the_slower_format_is_judged(self):
        times = {"fp16 NHWC": 400.0, "fp16 NHWC, raw": 416.0}
        assert verdicts(results(**{sums_name(50, MAIN, 8): {"median_us": times}}))[0] == "missed"

    def test_both_formats_must_be_measured(self):
        times = {"fp16 NHWC": 400.0}
        assert verdicts(results(**{sums_name(50, MAIN, 8): {"median_us": times}}))[0] == "not measured"

    def test_speed_is_not_judged_on_another_gpu(self):
        found = verdicts(results(gpu="Tesla V100-SXM2-16GB"))
        assert set(found[:14]) == {"not judged", "not measured"}
        assert found[14:] == ["met", "met"]

    @pytest.mark.parametrize("nothing", [None, Results("1", "never", {})])
    def test_nothing_measured(self, nothing):
        assert set(verdicts(nothing, None)) == {"not measured"}

    def test_matching_and_ap(self):
        found = verdicts(
            results(scenes={"paddle": {"share": 0.989, "detections": 200}}), {**AP, "verdict": "FAIL"}
        )
        assert found[14:] == ["missed", "missed"]

    def test_the_parts_that_count_as_detection_exist(self):
        assert set(DETECTION) <= set(KINDS)

    def test_the_readme_lists_the_goals(self):
        text = (ROOT / "benchmarks" / "gpu" / "README.md").read_text()
        for line in goal_table(goals(None)):
            assert line in text


class TestSteps:
    def test_each_needs_an_earlier_one(self):
        names = [step.name for step in STEPS]
        assert len(set(names)) == len(names)
        for number, step in enumerate(STEPS):
            assert set(step.needs) <= set(names[:number]), step.name
            module, _, function = step.work.partition(":")
            assert callable(getattr(__import__(module, fromlist=[function]), function))
        assert set(BENCHMARKS) == {"dcnv2", "kernels", "mini", "row4", "row1", "row2"}
        assert {name for each in BENCHMARKS.values() for name in each} <= set(names)

    def test_a_layer_sum_and_its_tiles(self, monkeypatch):
        monkeypatch.setattr(dcnv2, "BareDevice", NumpyDevice)
        monkeypatch.setattr(dcnv2, "DeformConvLibrary", FakeKernels)
        monkeypatch.setattr(dcnv2, "ITERATIONS", 2)
        small = [Layer("c3.0", Problem(1, 8, 6, 7, 16)), Layer("c3.1", Problem(1, 16, 6, 7, 16))]
        monkeypatch.setattr(dcnv2, "layers", lambda *_: small)
        monkeypatch.setattr(dcnv2, "shapes", lambda *_: small)
        figures = dcnv2.sums(Given(None, None, "50 32 64 1")).figures
        assert set(figures["median_us"]) == {"fp16 NHWC", "fp16 NHWC, raw"}
        assert figures["sets"] == 2
        assert "PyTorch cannot be imported" in figures["not measured"].get(
            "peers", "PyTorch cannot be imported"
        )
        assert set(dcnv2.tiles(Given(None, None, "32 64 1")).figures["c3.1 fp16 NHWC, raw"]) == {
            *("auto", "tile 0", "tile 1")
        }

    def test_enough_sets_that_the_cache_holds_none(self):
        class Device:
            l2_bytes = 60 << 20

        assert sets_needed(Device, [Layer("a", Problem(1, 8, 8, 8, 8))]) == 32
        assert sets_needed(Device, layers(50, MAIN, 1)) == 5  # 58 MB each
        assert sets_needed(Device, layers(50, MAIN, 8)) == 2

    def test_detection_kernels(self, monkeypatch):
        class Library:
            def __getattr__(self, name):
                return lambda *_, **__: 256

        monkeypatch.setattr(dcnv2, "ITERATIONS", 2)
        monkeypatch.setattr(detection_kernels, "BATCHES", (2,))
        attributes = {"anchors": [0.0] * 12, "strides": [4, 8, 16], "pre_nms_top_n": 40, "post_nms_top_n": 24}
        proposals = attributes | {
            "nms_threshold": 0.7,
            "min_size": 0.0,
            "pixel_offset": 0.0,
            "clip_multiple": 1.0,
        }
        roi_align = {"strides": [4, 8], "min_level": 2, "canonical_level": 4, "canonical_size": 224.0}
        roi_align |= {"pixel_offset": 0.0, "output_size": 7, "sampling_ratio": 0}
        roi_align |= {"coordinate_transformation_mode": "half_pixel"}
        nms = {"max_detections": 5, "score_threshold": 0.05, "nms_threshold": 0.5, "pixel_offset": 0.0}
        setting = detection_kernels.Setting("few", (64, 96), 8, 4, 4, proposals, roi_align, nms)
        figures = detection_kernels.time_setting(NumpyDevice(), Library(), setting).figures
        assert len(figures["N=2"]["median_us"]) == 7


class TestCommand:
    def test_an_unknown_benchmark(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            run.main(["nosuch"])
        assert stopped.value.code == 2
        assert "choose from" in capsys.readouterr().err

    def test_without_a_gpu(self, tmp_path, capsys):
        if run.main(["row4", "--output", str(tmp_path), "--bundles", str(tmp_path)]) != 3:
            pytest.skip("there is a GPU here")
        said = capsys.readouterr()
        assert "row4-fp16-times" in said.out
        assert "dcnv2-R50" not in said.out
        assert said.err.startswith("error: nothing was checked")

    def test_make_runs_the_benchmark_of_its_target(self):
        import subprocess

        targets = ("gpu-check", "gpu-kernels", "gpu-mini", "gpu-row4", "gpu-cascade", "gpu-all")
        command = ["make", "-n", *targets, "GPU_PYTHON=py", "GPU_OPTIONS=--fresh"]
        done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.splitlines() == [
            "PYTHONPATH=src py -m pssdet.validation.gpu_check --fresh",
            *(
                f"py benchmarks/gpu/run.py {names}--fresh"
                for names in ("kernels ", "mini ", "row4 ", "row1 row2 ", "")
            ),
        ]
