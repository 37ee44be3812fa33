"""The stages about engines, whole, on a rig whose engines are ONNX Runtime's; every figure is test data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_host import FakeRig

from benchmarks.gpu import engine_stages, engines, pack
from benchmarks.gpu.bundle import OUTPUTS, Parcel
from benchmarks.gpu.engine_stages import EnginePlan

ROOT = Path(__file__).resolve().parents[2]
TINY = EnginePlan(iterations=3, profiled=1, pictures=2)
STAGES = [
    *("build fp16", "agreement fp16", "latency fp16 N=1", "latency fp16 N=2", "layers fp16 N=1", "layers fp16 N=2"),
    *("build fp32", "agreement fp32", "latency fp32 N=1", "build twin", "latency twin N=1", "latency twin N=2"),
]


@pytest.fixture(scope="module", autouse=True)
def little_work():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "QUICK", TINY)
        patch.setattr(engine_stages, "WARM_UP", 1)
        yield


@pytest.fixture(scope="module")
def artifacts(mini_folder, tmp_path_factory):
    """What lies in artifacts/ at home: the export. The scenes are rendered."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "mini_faster").mkdir()
    for name in ("model.onnx", "model.json"):
        shutil.copyfile(mini_folder / name, folder / "mini_faster" / name)
    return folder


@pytest.fixture(scope="module")
def parcels(artifacts, tmp_path_factory):
    """Three scenes of the small detector, packed; and once more as the case of row 4, without its parameters."""
    folder = tmp_path_factory.mktemp("parcels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SCENES", 6)
        patch.setitem(pack.PLANS, "mini", pack.Plan("mini", "mini_faster", None, 3, (1, 2)))
        exports = artifacts / "gpu-exports"
        exports.mkdir()
        (exports / "mini_faster").symlink_to(artifacts / "mini_faster")
        patch.setitem(pack.PLANS, "row4", pack.Plan("row4", "mini_faster", (96, 128), 2, (1, 2)))
        assert pack.main([str(folder), "--cases", "mini", "row4", "--artifacts", str(artifacts)]) == 0
    return folder


def run(folder, parcels, rig, *options, case="mini"):
    arguments = [case, "--parcels", str(parcels), "--output", str(folder), "--work", str(folder / "work"), "--quick"]
    return engines.main([*arguments, *options], lambda _: rig)


def stored(folder, case="mini"):
    return json.loads((folder / f"{case}_made_up_1_quick.json").read_text())


@pytest.fixture(scope="module")
def done(parcels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    rig = FakeRig()
    assert run(folder, parcels, rig) == 0
    return folder, rig


class TestParcel:
    def test_what_was_packed(self, parcels, mini_folder):
        parcel = Parcel(parcels / "mini")
        assert (len(parcel), parcel.case.references, parcel.case.seeded) == (3, ("onnxruntime", "paddle"), False)
        assert parcel.case.fp32
        names = {node.name for node in onnx.load(mini_folder / "model.onnx").graph.node}
        assert set(parcel.case.fp32) <= names

    def test_paddle_and_onnx_runtime_found_the_same(self, parcels):
        parcel = Parcel(parcels / "mini")
        ours, theirs = (parcel.expected(reference) for reference in parcel.case.references)
        np.testing.assert_array_equal(ours["count"], theirs["count"])
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)

    def test_a_seeded_model_travels_without_its_parameters(self, parcels, artifacts):
        whole, travelling = artifacts / "mini_faster" / "model.onnx", parcels / "row4" / "model.onnx"
        assert travelling.stat().st_size < whole.stat().st_size / 4
        assert Parcel(parcels / "row4").case.seeded

    def test_a_whole_parcel_is_kept(self, parcels, artifacts, capsys):
        before = (parcels / "mini" / "case.json").stat().st_mtime_ns
        assert pack.main([str(parcels), "--cases", "mini", "--artifacts", str(artifacts)]) == 0
        assert "is there" in capsys.readouterr().out
        assert (parcels / "mini" / "case.json").stat().st_mtime_ns == before

    def test_one_that_is_too_large_for_a_copy(self, parcels, artifacts, capsys):
        arguments = [str(parcels), "--cases", "mini", "--artifacts", str(artifacts), "--limit-mib", "0.1"]
        assert pack.main(arguments) == 2
        assert "one copy takes 0.1" in capsys.readouterr().err

    def test_an_export_of_an_earlier_version(self, artifacts, tmp_path, capsys):
        model = onnx.load(artifacts / "mini_faster" / "model.onnx")
        node = next(node for node in model.graph.node if node.op_type == "MulticlassNms")
        kept = [attribute for attribute in node.attribute if attribute.name != "pixel_offset"]
        del node.attribute[:]
        node.attribute.extend(kept)
        (tmp_path / "old" / "mini_faster").mkdir(parents=True)
        onnx.save(model, tmp_path / "old" / "mini_faster" / "model.onnx")
        shutil.copyfile(artifacts / "mini_faster" / "model.json", tmp_path / "old" / "mini_faster" / "model.json")
        assert pack.main([str(tmp_path / "out"), "--cases", "mini", "--artifacts", str(tmp_path / "old")]) == 2
        assert "remove the folder and pack again" in capsys.readouterr().err
        assert not (tmp_path / "out" / "mini").exists()


class TestRun:
    def test_all_stages_are_stored(self, done):
        assert list(stored(done[0])["stages"]) == STAGES

    def test_each_engine_is_ordered_once_with_its_recipe_and_shapes(self, done, parcels):
        orders = {order.label: order for order in done[1].orders}
        assert [order.label for order in done[1].orders] == ["fp16", "fp32", "twin"]
        parcel = Parcel(parcels / "mini")
        assert (orders["fp16"].precision, orders["fp16"].fp32) == ("fp16", parcel.case.fp32)
        assert (orders["fp32"].precision, orders["fp32"].fp32) == ("fp32", ())
        assert not any(node.op_type == "DeformConv" for node in orders["twin"].model.graph.node)
        sizes = [parcel.padded_size(index) for index in range(3)]
        lowest, highest = (tuple(function(side) for side in zip(*sizes, strict=True)) for function in (min, max))
        alone, together = orders["fp16"].profiles
        assert alone == ((1, *lowest), (1, *highest), (1, *highest))
        assert together == ((2, *lowest), (2, *highest), (2, *highest))

    def test_the_engines_detections_are_the_references(self, done):
        stages = stored(done[0])["stages"]
        for label in ("fp16", "fp32"):
            figures = stages[f"agreement {label}"]["result"]["against"]
            assert figures["onnxruntime"]["share"] == figures["paddle"]["share"] == 1.0
            assert figures["onnxruntime"]["detections"] > 0
            assert figures["onnxruntime"]["score_difference"] == 0.0

    def test_the_detections_come_back(self, done, parcels):
        with np.load(done[0] / "mini_made_up_1_quick_fp16.npz") as arrays:
            found = {name: arrays[name] for name in OUTPUTS}
        for name, values in Parcel(parcels / "mini").expected("onnxruntime").items():
            np.testing.assert_array_equal(found[name], values[:2])

    def test_latency_has_both_kinds_of_copies_and_graphs(self, done):
        rows = stored(done[0])["stages"]["latency fp16 N=2"]["result"]["rows"]
        assert sorted((row["copies"], row["graph"]) for row in rows) == [
            (c, g) for c in (False, True) for g in (False, True)
        ]
        resident = next(row for row in rows if not row["copies"] and row["graph"])
        assert (resident["median_us"], resident["runs"]) == (1201.0, TINY.iterations)
        assert 1201 < resident["p95_us"] <= resident["p99_us"] <= 1202

    def test_the_report_says_what_there_is(self, done):
        text = (done[0] / "mini_made_up_1_quick.md").read_text()
        assert text.startswith("# mini_faster on NVIDIA Made-Up 1\n")
        assert "A quick run" in text
        assert "| fp16 N=2 | no | yes | 1.201 |" in text
        assert "| fp16 N=1 | 4 | 0.100 ms |" in text
        assert "PASS at the 99.9 % margin | - | not measured |" in text
        assert "0 failures" in text

    def test_a_seeded_case(self, parcels, tmp_path):
        assert run(tmp_path, parcels, FakeRig(), case="row4") == 0
        content = stored(tmp_path, "row4")
        assert content["stages"]["agreement fp32"]["result"]["against"]["onnxruntime"]["share"] == 1.0
        text = (tmp_path / "row4_made_up_1_quick.md").read_text()
        assert "Parameters are drawn" in text
        assert "N=1, in one CUDA graph: at most 1.2 ms per image | 1.001 ms | not judged |" in text


class TestResume:
    def test_a_finished_run_does_nothing(self, done, parcels):
        rig = FakeRig()
        assert run(done[0], parcels, rig) == 0
        assert rig.orders == []
        assert len(stored(done[0])["runs"]) >= 2

    def test_a_broken_stage_is_told_and_done_by_the_next_run(self, parcels, tmp_path, capsys):
        assert run(tmp_path, parcels, FakeRig(broken=["twin"])) == 1
        assert "broke off: build twin: no twin today" in capsys.readouterr().err
        assert [name for name in STAGES if name not in stored(tmp_path)["stages"]] == [
            *("build twin", "latency twin N=1", "latency twin N=2")
        ]
        rig = FakeRig()
        assert run(tmp_path, parcels, rig) == 0
        assert [order.label for order in rig.orders] == ["twin"]
        assert list(stored(tmp_path)["stages"]) == STAGES

    def test_a_stage_that_needs_a_plan_that_is_gone_builds_it(self, parcels, tmp_path):
        assert run(tmp_path, parcels, FakeRig(broken=["twin"])) == 1
        content = stored(tmp_path)
        del content["stages"]["latency fp16 N=2"]
        (tmp_path / "mini_made_up_1_quick.json").write_text(json.dumps(content))
        shutil.rmtree(tmp_path / "work")
        rig = FakeRig()
        assert run(tmp_path, parcels, rig) == 0
        assert [order.label for order in rig.orders] == ["fp16", "twin"]

    def test_another_tensorrt_starts_anew(self, parcels, tmp_path):
        assert run(tmp_path, parcels, FakeRig(broken=["twin"])) == 1
        rig = FakeRig()
        rig.identity = lambda: {"tensorrt": "1.0 made up", "plugins": "none"}
        assert run(tmp_path, parcels, rig) == 0
        assert len(rig.orders) == 3


class TestFailures:
    def test_a_float32_engine_that_moves_boxes(self, parcels, tmp_path, capsys):
        assert run(tmp_path, parcels, FakeRig(shift={"fp32": 9.0})) == 1
        assert "agreement fp32, 0 of" in capsys.readouterr().err

    def test_detections_that_are_not_finite(self, parcels, tmp_path, capsys):
        assert run(tmp_path, parcels, FakeRig(shift={"fp16": np.nan})) == 1
        assert "agreement fp16, a detection is not finite" in capsys.readouterr().err

    def test_graphs_that_could_not_be_taken_are_called_so(self, parcels, tmp_path):
        assert run(tmp_path, parcels, FakeRig(fallback="a plugin waits")) == 0
        text = (tmp_path / "mini_made_up_1_quick.md").read_text()
        assert "| fp16 N=1 | yes | not taken |" in text
        assert "| fp16 N=1 | no | no | 1.501 |" in text
        assert "- fp16 N=1, without copies: a plugin waits" in text

    def test_no_parcel(self, tmp_path, capsys):
        assert run(tmp_path, tmp_path, FakeRig()) == 2
        assert "pack.py" in capsys.readouterr().err


class TestCommand:
    def test_without_a_gpu(self, parcels):
        command = [sys.executable, "benchmarks/gpu/engines.py", "mini", "--parcels", str(parcels)]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 3 and "GPU" not in done.stderr:
            pytest.skip("there is a GPU here")
        assert done.stderr.startswith("error: there is no NVIDIA GPU")

    def test_help(self):
        command = [sys.executable, "benchmarks/gpu/engines.py", "--help"]
        done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        assert "{mini,row4,row1,row2}" in done.stdout
