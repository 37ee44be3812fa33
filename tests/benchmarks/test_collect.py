"""Results of a GPU host, judged by ``collect.py``. Every figure here is test data."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.gpu import collect, pack
from benchmarks.gpu.bundle import OUTPUTS, Bundle, Case, Picture, save_arrays, write_bundle
from benchmarks.gpu.engine_report import goals
from benchmarks.gpu.engine_steps import latency_name, layers_name
from benchmarks.gpu.suite import Results, goal_table
from pssdet.models.zoo import find
from pssdet.validation.scenes.dataset import ensure_dataset

SCENES = 40


@pytest.fixture(scope="module", autouse=True)
def few_scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "SCENES", SCENES)
        patch.setattr(pack, "SCENES", SCENES)
        yield


@pytest.fixture(scope="module")
def artifacts(scenes, tmp_path_factory):
    """The scenes of the other tests where they lie at home."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "scenes").mkdir()
    (folder / "scenes" / f"heldout-{SCENES}").symlink_to(scenes[1])
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return ensure_dataset(folder, "heldout", SCENES), folder


@pytest.fixture(scope="module")
def perfect(scenes):
    """A detector's outputs that are the annotations."""
    truth = json.loads(scenes[0].read_text())
    found = {
        "boxes": np.zeros((SCENES, 100, 4), np.float32),
        "scores": np.zeros((SCENES, 100), np.float32),
        "labels": np.full((SCENES, 100), -1, np.int32),
        "count": np.zeros(SCENES, np.int32),
    }
    labels = find("mini_faster").labels
    label_of = {entry["id"]: labels.index(entry["name"]) for entry in truth["categories"]}
    index = {
        image["id"]: number
        for number, image in enumerate(sorted(truth["images"], key=lambda each: each["file_name"]))
    }
    for number, entry in enumerate(truth["annotations"]):
        image = index[entry["image_id"]]
        slot = found["count"][image]
        x, y, width, height = entry["bbox"]
        found["boxes"][image, slot] = (x, y, x + width, y + height)
        found["scores"][image, slot] = 0.9 - 1e-4 * number
        found["labels"][image, slot] = label_of[entry["category_id"]]
        found["count"][image] += 1
    return found


@pytest.fixture(scope="module")
def bundles(perfect, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "mini").mkdir()
    case = Case("mini", "mini_faster", False, (0.5,) * 3, (0.5,) * 3, (), ("paddle",), (1,), {})  # noqa: FBT003
    pictures = [Picture(np.zeros((32, 32, 3), np.uint8), (32.0, 32.0), 1.0)] * SCENES
    each = [{name: perfect[name][index : index + 1] for name in OUTPUTS} for index in range(SCENES)]
    write_bundle(folder / "mini", case, onnx.ModelProto(ir_version=9), pictures, {"paddle": each})
    return folder


def write(out, case, steps, gpu="NVIDIA H200", *, quick=False, **identity):
    """A file as the steps write it."""
    name = f"{case}_{gpu.split()[1].lower()}{'_quick' if quick else ''}"
    results = Results(out / f"{name}.json", {"case": case, "gpu": gpu, "quick": quick, **identity})
    results.steps = {name: {"seconds": 1.0, "result": result} for name, result in steps.items()}
    results.save()
    (out / f"{name}.md").write_text(f"{case}\n")
    return results


def latency(us):
    with_copies = {"copies": True, "graph": True, "median_us": 9e9}
    return {"batch": 1, "rows": [{"copies": False, "graph": True, "median_us": us}, with_copies]}


def matched(share):
    return {"pictures": SCENES, "finite": True, "against": {"paddle": {"share": share, "detections": 200}}}


FAST = {
    latency_name("fp16", 1): latency(1100.0),
    latency_name("fp16", 8): latency(8 * 340.0),
    latency_name("no_dcn", 1): latency(1040.0),
    latency_name("no_dcn", 8): latency(8 * 300.0),
    layers_name(1): {"shares": {"NMS": 0.05, "proposals": 0.04, "decoding": 0.02, "trunk": 0.89}},
    layers_name(8): {"shares": {"NMS": 0.1, "RoIAlign": 0.06, "trunk": 0.84}},
}


def run(out, bundles, artifacts, results, option="--bundles"):
    return collect.main(
        [str(out), option, str(bundles), "--results", str(results), "--artifacts", str(artifacts)]
    )


def verdicts(found):
    return [(goal.number, goal.measured, goal.verdict) for goal in found]


class TestGoals:
    def test_times_shares_and_the_cost_of_dcn(self, tmp_path):
        results = write(tmp_path, "row4", FAST)
        assert verdicts(goals(results, "row4")) == [
            (1, "1.100 ms", "met"),
            (1, "0.340 ms", "met"),
            (2, "11.0%", "met"),
            (2, "16.0%", "missed"),
            (3, "+5.8%", "met"),
            (3, "+13.3%", "missed"),
        ]

    @pytest.mark.parametrize("other", [{"gpu": "NVIDIA L4"}, {"quick": True}])
    def test_another_gpu_and_a_quick_run_are_not_judged(self, tmp_path, other):
        assert {goal.verdict for goal in goals(write(tmp_path, "row4", FAST, **other), "row4")} == {
            "not judged"
        }

    def test_what_is_missing_is_not_measured(self, tmp_path):
        for results in (None, write(tmp_path, "row4", {})):
            assert {(goal.measured, goal.verdict) for goal in goals(results, "row4")} == {("-", "not measured")}
        assert verdicts(goals(None, "mini")) == [(4, "-", "not measured"), (5, "-", "not measured")]

    def test_matching(self, tmp_path):
        for share, verdict in ((0.991, "met"), (0.989, "missed")):
            results = write(tmp_path, "mini", {"agreement fp16": matched(share)})
            assert goals(results, "mini")[0].verdict == verdict

    def test_other_cases_have_none(self, tmp_path):
        assert goals(write(tmp_path, "row1", FAST), "row1") == []


class TestCollect:
    @pytest.fixture
    def out(self, tmp_path, bundles, perfect):
        folder = tmp_path / "out"
        folder.mkdir()
        identity = Bundle(bundles / "mini").identity()
        write(folder, "mini", {"agreement fp16": matched(1.0), "agreement fp32": matched(1.0)}, bundle=identity)
        for precision in ("fp16", "fp32"):
            save_arrays(folder / f"mini_h200_{precision}.npz", perfect)
        return folder

    def test_ap_against_paddle(self, out, bundles, artifacts, tmp_path):
        assert run(out, bundles, artifacts, tmp_path / "results") == 0
        content = json.loads((tmp_path / "results" / "tensorrt_h200.json").read_text())
        assert content["ap"]["fp16"]["ap"] == content["ap"]["fp16"]["reference_ap"] == 1.0
        assert content["ap"]["fp16"]["verdict"] == "PASS"
        text = (tmp_path / "results" / "tensorrt_h200.md").read_text()
        assert "| fp32 | 100.00 | 100.00 | +0.000 | [+0.000, +0.000] | 0.100 | PASS |" in text
        assert "- mini: [mini_h200.md](mini_h200.md), 2 steps" in text
        assert "- row4: not measured" in text
        assert text.count("| - | not measured |") == 6
        assert (tmp_path / "results" / "mini_h200.json").is_file()

    def test_an_engine_that_lost_detections_misses_its_goal(
        self, out, bundles, artifacts, perfect, tmp_path, capsys
    ):
        save_arrays(out / "mini_h200_fp16.npz", {**perfect, "count": perfect["count"] // 2})
        assert run(out, bundles, artifacts, tmp_path / "results") == 1
        assert "1 goals missed, the first: the FP16 engine's AP" in capsys.readouterr().err
        content = json.loads((tmp_path / "results" / "tensorrt_h200.json").read_text())
        assert content["ap"]["fp16"]["verdict"] == "FAIL"
        assert content["ap"]["fp32"]["verdict"] == "PASS"

    def test_detections_of_another_bundle(self, out, bundles, artifacts, tmp_path, capsys):
        write(out, "mini", {"agreement fp16": matched(1.0)}, bundle="another")
        assert run(out, bundles, artifacts, tmp_path / "results") == 2
        assert "--bundles" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--bundles", "--parcels"])
    def test_nothing_came_back(self, option, bundles, artifacts, tmp_path, capsys):
        assert run(tmp_path, bundles, artifacts, tmp_path / "results", option) == 2
        assert "has no results" in capsys.readouterr().err
        assert not (tmp_path / "results").exists()


def test_the_readme_lists_the_goals():
    text = (Path(collect.ROOT) / "benchmarks" / "gpu" / "README.md").read_text()
    for line in goal_table([*goals(None, "row4"), *goals(None, "mini")]):
        assert line.partition("| - |")[0] in text
