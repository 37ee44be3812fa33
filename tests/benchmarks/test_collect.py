"""Results of a GPU host, judged by ``collect.py``. Every figure here is test data."""

import json

import numpy as np
import onnx
import pytest

from benchmarks.gpu import collect
from pssdet.models.zoo import find
from pssdet.validation.gpu_check.bundle import OUTPUTS, Bundle, Case, Picture, save_arrays, write_bundle
from pssdet.validation.gpu_check.runner import Outcome, Results
from pssdet.validation.scenes.dataset import ensure_dataset

SCENES = 40


@pytest.fixture(scope="module", autouse=True)
def few_scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "SCENES", SCENES)
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
    (folder / "scenes").mkdir()
    case = Case("scenes", "mini_faster", False, (0.5,) * 3, (0.5,) * 3, (), {}, ("paddle",), (1,), {})  # noqa: FBT003
    pictures = [Picture(np.zeros((32, 32, 3), np.uint8), (32.0, 32.0), 1.0)] * SCENES
    each = [{name: perfect[name][index : index + 1] for name in OUTPUTS} for index in range(SCENES)]
    write_bundle(folder / "scenes", case, onnx.ModelProto(ir_version=9), pictures, {"paddle": each})
    return folder


@pytest.fixture(params=["gpu-check.json", "gpu-benchmarks.json"])
def out(request, tmp_path, bundles, perfect):
    """What came back, of the check or of the benchmarks."""
    folder = tmp_path / "out"
    (folder / "work").mkdir(parents=True)
    found = {"bundle": Bundle(bundles / "scenes").identity()[:16], "paddle": {"share": 1.0, "detections": 200}}
    outcomes = {"driver": Outcome("PASS", figures={"identity": {"GPU": "NVIDIA H200"}})}
    outcomes |= {name: Outcome("PASS", figures=found) for name in ("scenes", "scenes-fp32")}
    (folder / request.param).write_bytes(Results("1", "2026-11-29", outcomes).encode())
    for precision in ("fp16", "fp32"):
        save_arrays(folder / "work" / f"scenes-{precision}.npz", perfect)
    return folder


def run(out, bundles, artifacts, results):
    words = [str(out), "--bundles", str(bundles), "--results", str(results), "--artifacts", str(artifacts)]
    return collect.main(words)


def test_ap_against_paddle(out, bundles, artifacts, tmp_path):
    assert run(out, bundles, artifacts, tmp_path / "results") == 0
    content = json.loads((tmp_path / "results" / "gpu_h200.json").read_text())
    assert content["ap"]["fp16"]["ap"] == content["ap"]["fp16"]["reference_ap"] == 1.0
    assert content["ap"]["fp16"]["verdict"] == "PASS"
    text = (tmp_path / "results" / "gpu_h200.md").read_text()
    assert "| fp32 | 100.00 | 100.00 | +0.000 | [+0.000, +0.000] | PASS |" in text
    assert text.count("| - | not measured |") == 14
    assert "# GPU check: NVIDIA H200" in text


def test_an_engine_that_lost_detections_misses_its_goal(out, bundles, artifacts, perfect, tmp_path, capsys):
    save_arrays(out / "work" / "scenes-fp16.npz", {**perfect, "count": perfect["count"] // 2})
    assert run(out, bundles, artifacts, tmp_path / "results") == 1
    assert "1 goals missed, the first: the FP16 engine's AP" in capsys.readouterr().err
    content = json.loads((tmp_path / "results" / "gpu_h200.json").read_text())
    assert content["ap"]["fp16"]["verdict"] == "FAIL"
    assert content["ap"]["fp32"]["verdict"] == "PASS"


def test_detections_of_another_bundle(out, bundles, artifacts, perfect, tmp_path, capsys):
    path = next(out.glob("*.json"))
    path.write_text(path.read_text().replace(Bundle(bundles / "scenes").identity()[:16], "another"))
    assert run(out, bundles, artifacts, tmp_path / "results") == 2
    assert "--bundles" in capsys.readouterr().err


def test_without_the_detections_ap_is_not_measured(out, bundles, artifacts, tmp_path):
    for path in (out / "work").iterdir():
        path.unlink()
    assert run(out, bundles, artifacts, tmp_path / "results") == 0
    assert "## AP of the small detector\n\nnot measured" in (tmp_path / "results" / "gpu_h200.md").read_text()


def test_results_without_a_gpu(out, bundles, artifacts, tmp_path, capsys):
    for path in out.glob("*.json"):
        results = json.loads(path.read_text())
        results["outcomes"]["driver"] = {**results["outcomes"]["driver"], "status": "FAIL", "figures": {}}
        path.write_text(json.dumps(results))
    assert run(out, bundles, artifacts, tmp_path / "results") == 2
    assert "no GPU was found" in capsys.readouterr().err


def test_nothing_came_back(bundles, artifacts, tmp_path, capsys):
    assert run(tmp_path, bundles, artifacts, tmp_path / "results") == 2
    assert "has neither" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
