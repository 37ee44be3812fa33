"""Engines that test themselves: planted faults are caught, and nothing runs without a reason."""

import json
import re
import shutil

import msgspec
import numpy as np
import pytest
from altered_engines import altered, find_nothing, looser_nms, plant_in_offsets, swap_channels
from golden_files import GOLDEN
from onnx import numpy_helper

from benchmarks.ablation import zero_offsets
from pssdet.commands.app import app_of, execute
from pssdet.engines import registry
from pssdet.engines.backend import CPU
from pssdet.engines.build_engine import build_engine
from pssdet.engines.registry import backend_named
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import ENGINE_CARD, FileRecord, encode, read_engine_card
from pssdet.models.preprocess import PICTURE
from pssdet.runtime.detector import Detector
from pssdet.runtime.self_test import changes


def recorded(engine, folder, **environment):
    """A copy of the engine whose card says that it was built elsewhere."""
    shutil.copytree(engine, folder)
    card = read_engine_card(folder)
    card = msgspec.structs.replace(card, environment=card.environment | environment)
    (folder / ENGINE_CARD).write_bytes(encode(card))
    return folder


def record_probe(folder):
    card = read_engine_card(folder)
    card = msgspec.structs.replace(card, probe=FileRecord.of(folder / "probe.npz"))
    (folder / ENGINE_CARD).write_bytes(encode(card))


def with_probe(engine, folder, change):
    """A copy of the engine with other arrays in its probe, which its card says are right."""
    shutil.copytree(engine, folder)
    with np.load(folder / "probe.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez_compressed(folder / "probe.npz", **arrays)
    record_probe(folder)
    return folder


def scaled(name, factor):
    def change(graph):
        for tensor in graph.initializer:
            if tensor.name == name:
                values = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


@pytest.fixture(params=["onnxruntime-fp32", "onnxruntime-fp16"])
def engine(request, mini_folder):
    return mini_folder / request.param


@pytest.fixture
def full(mini_folder):
    return mini_folder / "onnxruntime-fp32"


@pytest.fixture
def runs(monkeypatch):
    """Sessions that were opened: whether each returned stages."""
    opened = []
    real = registry.open_engine

    def open_engine(folder, *, stages=False, **options):
        opened.append(stages)
        return real(folder, stages=stages, **options)

    monkeypatch.setattr("pssdet.runtime.detector.open_engine", open_engine)
    monkeypatch.setattr("pssdet.runtime.self_test.open_engine", open_engine)
    return opened


class TestFaults:
    @pytest.mark.parametrize(
        ("change", "stage"),
        [
            (swap_channels, "c2"),
            (scaled("backbone.conv1.conv1_1.conv.weight", 1.1), "c2"),
            (scaled("bbox_head.bbox_score.weight", 1.1), "class_probabilities"),
            (plant_in_offsets(zero_offsets), "c3"),
            (looser_nms, "detections"),
            (find_nothing, "detections"),
        ],
        ids=["channels", "stem", "scores", "offsets", "nms", "nothing found"],
    )
    def test_a_planted_fault_is_caught_where_it_begins(self, engine, tmp_path, change, stage):
        folder = altered(engine, tmp_path / "engine", change)
        assert not Detector.load(folder).self_test  # files and card agree, and the machine is the same
        with pytest.raises(GateFailed, match=rf"fails its self-test .* first at {stage} \(probe\)"):
            Detector.load(folder, self_test=True)

    def test_what_no_detection_depends_on_is_seen_by_the_full_test_alone(self, full, tmp_path):
        """The picture has no object that is large enough for P5."""
        folder = altered(full, tmp_path / "engine", scaled("neck.fpn_res5_sum.weight", 1.1))
        with pytest.raises(GateFailed, match="first at p5"):
            Detector.load(folder, self_test=True)
        elsewhere = recorded(folder, tmp_path / "elsewhere", onnxruntime="1.0")
        assert Detector.load(elsewhere).self_test.startswith("self-test passed")

    def test_an_openvino_engine(self, mini_folder, tmp_path, monkeypatch):
        pytest.importorskip("openvino")
        monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))
        folder = tmp_path / "engine"
        card = build_engine(mini_folder, backend_named("openvino"), "fp32", folder)
        assert Detector.load(folder, self_test=True).self_test.startswith("self-test passed")
        values = np.fromfile(folder / "model.bin", np.float32)
        weights = slice(len(values) // 4, len(values) // 2)
        values[weights] = np.where(
            np.abs(values[weights]) < 1, values[weights] * np.float32(1.2), values[weights]
        )
        values.tofile(folder / "model.bin")
        files = tuple(FileRecord.of(folder / file.name) for file in card.files)
        environment = card.environment | {"openvino": "2026.3"}
        changed = msgspec.structs.replace(card, files=files, environment=environment)
        (folder / ENGINE_CARD).write_bytes(encode(changed))
        with pytest.raises(
            GateFailed, match=r"since the build, openvino 2026\.3 became .*; build the engine again"
        ):
            Detector.load(folder)

    def test_the_session_of_a_failed_test_is_closed(self, full, tmp_path, monkeypatch):
        closed = []
        folder = altered(full, tmp_path / "engine", swap_channels)
        session = "pssdet.engines.onnx_runtime_session.OnnxRuntimeSession.close"
        monkeypatch.setattr(session, lambda _: closed.append(True))
        with pytest.raises(GateFailed):
            Detector.load(folder, self_test=True)
        assert len(closed) == 2


class TestWhen:
    def test_not_on_the_machine_of_the_build(self, engine, runs):
        with Detector.load(engine) as detector:
            assert detector.self_test == ""
        assert runs == [False]

    @pytest.mark.parametrize(
        ("environment", "said"),
        [
            ({"onnxruntime": "1.0.0"}, r"onnxruntime 1\.0\.0 became \d+\..*"),
            ({CPU: "avx512_er"}, r"the CPU lacks avx512_er and has .*avx.*"),
            ({"GPU": "Tesla V100"}, "GPU Tesla V100 became none"),
        ],
        ids=["runtime", "CPU", "GPU"],
    )
    def test_where_something_else_computes(self, engine, tmp_path, runs, environment, said):
        folder = recorded(engine, tmp_path / "engine", **environment)
        with Detector.load(folder) as detector:
            assert re.fullmatch(rf"self-test passed; since the build, {said}", detector.self_test)
            assert len(detector([PICTURE])[0]) > 0
        assert runs == [False]

    def test_not_against_the_users_will(self, full, tmp_path, runs):
        folder = recorded(
            altered(full, tmp_path / "faulty", swap_channels), tmp_path / "engine", onnxruntime="1"
        )
        assert Detector.load(folder, self_test=False).self_test == ""

    def test_with_stages_where_it_is_asked_for(self, engine, runs):
        said = Detector.load(engine, self_test=True).self_test
        assert said == "self-test passed; this machine is as it was at the build"
        assert runs == [False, True]

    def test_how_environments_differ(self):
        assert changes({"a": "1", CPU: "avx sse"}, {"a": "1", CPU: "avx sse"}) == []
        assert changes({"a": "1"}, {"b": "2"}) == ["a 1 became none", "b none became 2"]
        assert changes({CPU: "avx sse"}, {CPU: "avx"}) == ["the CPU lacks sse"]


class TestWithoutProbe:
    ENGINE = GOLDEN / "engine"

    def test_an_older_engine_opens_as_before(self, runs):
        with Detector.load(self.ENGINE) as detector:
            assert detector.self_test == ""
        assert runs == [False]

    def test_it_cannot_test_itself(self):
        with pytest.raises(BadInput, match="its export has no probe; export again") as caught:
            Detector.load(self.ENGINE, self_test=True)
        assert "\n" not in str(caught.value)

    def test_an_older_export_builds_as_before(self, mini_folder, tmp_path):
        shutil.copy(mini_folder / "model.onnx", tmp_path)
        card = json.loads((mini_folder / "model.json").read_text())
        del card["probe"]
        (tmp_path / "model.json").write_text(json.dumps(card))
        built = build_engine(tmp_path, backend_named("onnxruntime"), "fp32", tmp_path / "engine")
        assert built.probe is None
        assert not (tmp_path / "engine" / "probe.npz").exists()
        assert Detector.load(tmp_path / "engine").self_test == ""


class TestFile:
    @pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"other")])
    def test_an_engine_whose_probe_was_altered_is_not_opened(self, full, tmp_path, damage):
        folder = tmp_path / "engine"
        shutil.copytree(full, folder)
        damage(folder / "probe.npz")
        with pytest.raises(BadInput, match=r"probe\.npz (is not the file|cannot be read)"):
            Detector.load(folder)

    def test_what_differs_is_named(self, full, tmp_path):
        folder = with_probe(
            full, tmp_path / "engine", lambda arrays: arrays["scores"].__imul__(np.float32(0.9))
        )
        said = r"first at detections \(probe\): difference 0\.0\d+ in score, limit 0\.001, 0\.0% of the rows"
        with pytest.raises(GateFailed, match=said):
            Detector.load(folder, self_test=True)

    def test_rubbish_is_refused_in_our_own_words(self, full, tmp_path):
        folder = tmp_path / "engine"
        shutil.copytree(full, folder)
        (folder / "probe.npz").write_bytes(b"rubbish")
        record_probe(folder)
        with pytest.raises(BadInput, match=r"probe\.npz is no intact \.npz file") as refusal:
            Detector.load(folder, self_test=True)
        assert "load it unsafely" not in str(refusal.value)

    def test_a_card_that_names_none(self, full, tmp_path):
        folder = tmp_path / "engine"
        shutil.copytree(full, folder)
        card = msgspec.structs.replace(read_engine_card(folder), probe=None)
        (folder / ENGINE_CARD).write_bytes(encode(card))
        with pytest.raises(BadInput, match="because its card names no probe; build it again"):
            Detector.load(folder, self_test=True)

    def test_engines_of_one_build_have_the_same_bytes(self, mini_folder, full, tmp_path):
        built = build_engine(mini_folder, backend_named("onnxruntime"), "fp32", tmp_path / "engine")
        assert built.probe == read_engine_card(full).probe


class TestCommand:
    def run(self, capsys, *arguments):
        from pssdet.commands.detect import detect

        code = execute(app_of(detect), [str(PICTURE), *map(str, arguments)])
        return code, capsys.readouterr().err

    def test_it_says_that_it_passed(self, full, tmp_path, capsys):
        code, said = self.run(capsys, "--engine", full, "--self-test")
        assert (code, said) == (0, "note: self-test passed; this machine is as it was at the build\n")
        folder = recorded(full, tmp_path / "engine", onnxruntime="1.0.0")
        code, said = self.run(capsys, "--engine", folder)
        assert code == 0
        assert said.startswith("note: self-test passed; since the build, onnxruntime 1.0.0 became")
        assert self.run(capsys, "--engine", folder, "--no-self-test") == (0, "")

    def test_exit_codes(self, full, tmp_path, capsys):
        folder = altered(full, tmp_path / "engine", swap_channels)
        assert self.run(capsys, "--engine", folder, "--self-test")[0] == 1
        assert self.run(capsys, "--engine", GOLDEN / "engine", "--self-test")[0] == 2
