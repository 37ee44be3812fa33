"""The steps about engines, whole, on a host whose engines are ONNX Runtime's; every figure is test data."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_host import FakeHost

from benchmarks.gpu import engine_steps, engines, pack
from benchmarks.gpu.bundle import OUTPUTS, Bundle
from benchmarks.gpu.engine_steps import EngineWorkload
from pssdet.engines.trt.profiles import Profile

ROOT = Path(__file__).resolve().parents[2]
TINY = EngineWorkload(iterations=3, profiled=1, pictures=2)
STEPS = [
    *(
        "build fp16",
        "agreement fp16",
        "latency fp16 N=1",
        "latency fp16 N=2",
        "layers fp16 N=1",
        "layers fp16 N=2",
    ),
    *(
        "build fp32",
        "agreement fp32",
        "latency fp32 N=1",
        "build no_dcn",
        "latency no_dcn N=1",
        "latency no_dcn N=2",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def little_work():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "QUICK", TINY)
        patch.setattr(engine_steps, "WARM_UP", 1)
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
def bundles(artifacts, tmp_path_factory):
    """Three scenes of the small detector, packed; and again as the case of row 4, without its parameters."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SCENES", 6)
        patch.setitem(pack.SPECS, "mini", pack.CaseSpec("mini", "mini_faster", None, 3, (1, 2)))
        exports = artifacts / "gpu-exports"
        exports.mkdir()
        (exports / "mini_faster").symlink_to(artifacts / "mini_faster")
        patch.setitem(pack.SPECS, "row4", pack.CaseSpec("row4", "mini_faster", (96, 128), 2, (1, 2)))
        assert pack.main([str(folder), "--cases", "mini", "row4", "--artifacts", str(artifacts)]) == 0
    return folder


def run(folder, bundles, host, *options, case="mini"):
    arguments = [
        case,
        "--bundles",
        str(bundles),
        "--output",
        str(folder),
        "--work",
        str(folder / "work"),
        "--quick",
    ]
    return engines.main([*arguments, *options], lambda _: host)


def stored(folder, case="mini"):
    return json.loads((folder / f"{case}_stub_1_quick.json").read_text())


@pytest.fixture(scope="module")
def done(bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    host = FakeHost()
    assert run(folder, bundles, host) == 0
    return folder, host


class TestBundle:
    def test_what_was_packed(self, bundles, mini_folder):
        bundle = Bundle(bundles / "mini")
        assert (len(bundle.pictures), bundle.case.references) == (3, ("onnxruntime", "paddle"))
        assert not bundle.case.seeded
        assert bundle.case.fp32
        names = {node.name for node in onnx.load(mini_folder / "model.onnx").graph.node}
        assert set(bundle.case.fp32) <= names

    def test_paddle_and_onnx_runtime_found_the_same(self, bundles):
        bundle = Bundle(bundles / "mini")
        ours, theirs = (bundle.expected(reference) for reference in bundle.case.references)
        np.testing.assert_array_equal(ours["count"], theirs["count"])
        np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)

    def test_a_seeded_model_travels_without_its_parameters(self, bundles, artifacts):
        whole, travelling = artifacts / "mini_faster" / "model.onnx", bundles / "row4" / "model.onnx"
        assert travelling.stat().st_size < whole.stat().st_size / 4
        assert Bundle(bundles / "row4").case.seeded

    def test_a_whole_bundle_is_kept(self, bundles, artifacts, capsys):
        before = (bundles / "mini" / "case.json").stat().st_mtime_ns
        assert pack.main([str(bundles), "--cases", "mini", "--artifacts", str(artifacts)]) == 0
        assert "is there" in capsys.readouterr().out
        assert (bundles / "mini" / "case.json").stat().st_mtime_ns == before

    def test_one_that_is_too_large_for_a_copy(self, bundles, artifacts, capsys):
        arguments = [str(bundles), "--cases", "mini", "--artifacts", str(artifacts), "--limit-mib", "0.1"]
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
        shutil.copyfile(
            artifacts / "mini_faster" / "model.json", tmp_path / "old" / "mini_faster" / "model.json"
        )
        assert pack.main([str(tmp_path / "out"), "--cases", "mini", "--artifacts", str(tmp_path / "old")]) == 2
        assert "remove the folder and pack again" in capsys.readouterr().err
        assert not (tmp_path / "out" / "mini").exists()


class TestRun:
    def test_all_steps_are_stored(self, done):
        assert list(stored(done[0])["steps"]) == STEPS

    def test_each_engine_is_requested_once_with_its_recipe_and_shapes(self, done, bundles):
        requests = {request.label: request for request in done[1].requests}
        assert [request.label for request in done[1].requests] == ["fp16", "fp32", "no_dcn"]
        bundle = Bundle(bundles / "mini")
        assert requests["fp16"].fp32 == bundle.case.fp32
        assert requests["fp32"].fp32 is None
        assert not any(node.op_type == "DeformConv" for node in requests["no_dcn"].model.graph.node)
        sizes = [picture.padded_size for picture in bundle.pictures]
        lowest, highest = (
            tuple(function(side) for side in zip(*sizes, strict=True)) for function in (min, max)
        )
        alone, together = requests["fp16"].profiles
        assert alone == Profile((1, *lowest), (1, *highest), (1, *highest))
        assert together == Profile((2, *lowest), (2, *highest), (2, *highest))

    def test_the_engines_detections_are_the_references(self, done):
        steps = stored(done[0])["steps"]
        for label in ("fp16", "fp32"):
            figures = steps[f"agreement {label}"]["result"]["against"]
            assert figures["onnxruntime"]["share"] == figures["paddle"]["share"] == 1.0
            assert figures["onnxruntime"]["detections"] > 0
            assert figures["onnxruntime"]["score_difference"] == 0.0

    def test_the_detections_come_back(self, done, bundles):
        with np.load(done[0] / "mini_stub_1_quick_fp16.npz") as arrays:
            found = {name: arrays[name] for name in OUTPUTS}
        for name, values in Bundle(bundles / "mini").expected("onnxruntime").items():
            np.testing.assert_array_equal(found[name], values[:2])

    def test_latency_has_both_kinds_of_copies_and_graphs(self, done):
        rows = stored(done[0])["steps"]["latency fp16 N=2"]["result"]["rows"]
        assert sorted((row["copies"], row["graph"]) for row in rows) == [
            (c, g) for c in (False, True) for g in (False, True)
        ]
        resident = next(row for row in rows if not row["copies"] and row["graph"])
        assert (resident["median_us"], resident["runs"]) == (1201.0, TINY.iterations)
        assert 1201 < resident["p95_us"] <= resident["p99_us"] <= 1202

    def test_the_report_says_what_there_is(self, done):
        text = (done[0] / "mini_stub_1_quick.md").read_text()
        assert text.startswith("# mini_faster on NVIDIA Stub 1\n")
        assert "A quick run" in text
        assert "| fp16 N=2 | no | yes | 1.201 |" in text
        assert "| fp16 N=1 | 4 | 0.100 ms |" in text
        assert "PASS at the 99.9 % margin | - | not measured |" in text
        assert "0 failures" in text

    def test_a_seeded_case(self, bundles, tmp_path):
        assert run(tmp_path, bundles, FakeHost(), case="row4") == 0
        content = stored(tmp_path, "row4")
        assert content["steps"]["agreement fp32"]["result"]["against"]["onnxruntime"]["share"] == 1.0
        text = (tmp_path / "row4_stub_1_quick.md").read_text()
        assert "Parameters are drawn" in text
        assert "N=1, in one CUDA graph: at most 1.2 ms per image | 1.001 ms | not judged |" in text


class TestResume:
    def test_a_finished_run_does_nothing(self, done, bundles):
        host = FakeHost()
        assert run(done[0], bundles, host) == 0
        assert host.requests == []
        assert len(stored(done[0])["runs"]) >= 2

    def test_a_broken_step_is_told_and_done_by_the_next_run(self, bundles, tmp_path, capsys):
        assert run(tmp_path, bundles, FakeHost(broken=["no_dcn"])) == 1
        assert "broke off: build no_dcn: no no_dcn today" in capsys.readouterr().err
        assert [name for name in STEPS if name not in stored(tmp_path)["steps"]] == [
            *("build no_dcn", "latency no_dcn N=1", "latency no_dcn N=2")
        ]
        host = FakeHost()
        assert run(tmp_path, bundles, host) == 0
        assert [request.label for request in host.requests] == ["no_dcn"]
        assert list(stored(tmp_path)["steps"]) == STEPS

    def test_a_step_that_needs_a_plan_that_is_gone_builds_it(self, bundles, tmp_path):
        assert run(tmp_path, bundles, FakeHost(broken=["no_dcn"])) == 1
        content = stored(tmp_path)
        del content["steps"]["latency fp16 N=2"]
        (tmp_path / "mini_stub_1_quick.json").write_text(json.dumps(content))
        shutil.rmtree(tmp_path / "work")
        host = FakeHost()
        assert run(tmp_path, bundles, host) == 0
        assert [request.label for request in host.requests] == ["fp16", "no_dcn"]

    def test_another_tensorrt_starts_anew(self, bundles, tmp_path):
        assert run(tmp_path, bundles, FakeHost(broken=["no_dcn"])) == 1
        host = FakeHost()
        host.identity = lambda: {"tensorrt": "1.0 stub", "plugins": "none"}
        assert run(tmp_path, bundles, host) == 0
        assert len(host.requests) == 3


class TestFailures:
    def test_a_float32_engine_that_moves_boxes(self, bundles, tmp_path, capsys):
        assert run(tmp_path, bundles, FakeHost(shift={"fp32": 9.0})) == 1
        assert "agreement fp32, 0 of" in capsys.readouterr().err

    def test_detections_that_are_not_finite(self, bundles, tmp_path, capsys):
        assert run(tmp_path, bundles, FakeHost(shift={"fp16": np.nan})) == 1
        assert "agreement fp16, a detection is not finite" in capsys.readouterr().err

    def test_graphs_that_could_not_be_taken_are_called_so(self, bundles, tmp_path):
        assert run(tmp_path, bundles, FakeHost(fallback="a plugin waits")) == 0
        text = (tmp_path / "mini_stub_1_quick.md").read_text()
        assert "| fp16 N=1 | yes | not taken |" in text
        assert "| fp16 N=1 | no | no | 1.501 |" in text
        assert "- fp16 N=1, without copies: a plugin waits" in text

    def test_no_bundle(self, tmp_path, capsys):
        assert run(tmp_path, tmp_path, FakeHost()) == 2
        assert "pack.py" in capsys.readouterr().err


class TestCommand:
    def test_without_a_gpu(self, bundles):
        command = [sys.executable, "benchmarks/gpu/engines.py", "mini", "--bundles", str(bundles)]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 3 and "GPU" not in done.stderr:
            pytest.skip("there is a GPU here")
        assert done.stderr.startswith("error: there is no NVIDIA GPU")

    def test_help(self):
        command = [sys.executable, "benchmarks/gpu/engines.py", "--help"]
        done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
        assert "{mini,row4,row1,row2}" in done.stdout
