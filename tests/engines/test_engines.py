"""Building and opening engines of row 4."""

import re
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from reference import ROW4, case_inputs, disagreements, load_case

from pssdet.commands import artifacts
from pssdet.engines import devices, registry
from pssdet.engines.backend import PrecisionOptions
from pssdet.engines.backends import onnx_runtime
from pssdet.engines.build_engine import build_engine, engine_folder
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.registry import backend_named, choose_backend, open_engine, require_to_open
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.models.card import ENGINE_CARD, FileRecord, encode, read_engine_card, read_model_card
from pssdet.models.stages import HALF, compare

CASE = "row4_photo_rendered_scene"


@pytest.fixture(scope="module")
def inputs():
    return case_inputs(load_case(CASE))


@pytest.fixture(scope="module")
def engines(row4_folder):
    """One engine of each kind that this machine can run, by folder name."""
    wanted = [("onnxruntime", "fp32"), ("onnxruntime", "fp16"), ("paddle", "fp32")]
    folders = {}
    for name, precision in wanted:
        backend = choose_backend(name, precision)
        folder = engine_folder(row4_folder, backend, precision)
        build_engine(row4_folder, backend, precision, folder)
        folders[folder.name] = folder
    return folders


def run(folder, inputs, *, stages=False):
    card, session = open_engine(folder, stages=stages)
    outputs = session.run(inputs)
    session.close()
    return card, outputs


@pytest.mark.parametrize("name", ["onnxruntime-fp32", "paddle-fp32"])
def test_float32_engines_give_the_original_numbers(engines, inputs, name):
    card, tensors = run(engines[name], inputs, stages=True)
    assert not card.emulated
    assert disagreements(load_case(CASE), tensors) == []


def test_emulated_half_is_close_and_not_equal(engines, inputs):
    card, half = run(engines["onnxruntime-fp16"], inputs, stages=True)
    _, full = run(engines["onnxruntime-fp32"], inputs, stages=True)
    assert card.emulated
    assert card.fp32_nodes == 3 * 13  # convolution, split and sigmoid of each DCNv2 layer
    assert all(record.passed for record in compare("half", ROW4.architecture, full, half, HALF))
    for name in ("c2", "c5", "p2", "rpn_score_p3"):
        np.testing.assert_array_equal(half[name], half[name].astype(np.float16))
        assert (half[name] != full[name]).any()


def test_real_half_graph_is_well_typed_and_close(row4_folder, inputs, engines, tmp_path, monkeypatch):
    """The graph that a CUDA machine gets; on a CPU its float16 operators compute in float32."""
    import onnx

    target = tmp_path / "model.onnx"
    draft, options = read_engine_card(engines["onnxruntime-fp16"]), PrecisionOptions()
    with monkeypatch.context() as patched:
        patched.setattr(onnx_runtime, "_has_cuda", lambda: True)
        built = backend_named("onnxruntime").build(row4_folder, draft, tmp_path, options, lambda _: None)
    assert not built.emulated
    assert built.fp32_nodes == 4 * 13  # the same and the DeformConv itself, whose inputs share one type
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    halves = sum(t.data_type == onnx.TensorProto.FLOAT16 for t in model.graph.initializer)
    assert halves > 80
    assert target.stat().st_size < 0.8 * (row4_folder / "model.onnx").stat().st_size
    taps = ("p2", "class_probabilities")
    outputs = OnnxRuntimeSession(target, taps, cuda=False).run(inputs)
    _, full = run(engines["onnxruntime-fp32"], inputs, stages=True)
    assert outputs["p2"].dtype == np.float32
    np.testing.assert_allclose(outputs["p2"], full["p2"], atol=0.01 * np.abs(full["p2"]).max())


def test_outputs_are_the_contract_on_every_backend(engines, inputs):
    for folder in engines.values():
        card, outputs = run(folder, inputs)
        assert {name: (x.dtype.name, x.shape) for name, x in outputs.items()} == {
            "boxes": ("float32", (1, 100, 4)),
            "scores": ("float32", (1, 100)),
            "labels": ("int32", (1, 100)),
            "count": ("int32", (1,)),
        }
        assert [record.name for record in card.model.outputs] == list(outputs)


def test_the_card_travels_with_the_engine(engines):
    card = read_engine_card(engines["onnxruntime-fp32"])
    assert (card.backend, card.precision) == ("onnxruntime", "fp32")
    assert card.model.model == ROW4.name
    assert "onnxruntime" in card.versions


def test_building_from_an_altered_model(row4_folder, tmp_path):
    for name in ("model.json", "model.onnx"):
        (tmp_path / name).write_bytes((row4_folder / name).read_bytes())
    with (tmp_path / "model.onnx").open("r+b") as stream:
        stream.write(b"altered")
    with pytest.raises(BadInput, match="sha256"):
        build_engine(tmp_path, backend_named("onnxruntime"), "fp32", tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


def test_a_build_that_fails_leaves_the_older_engine(row4_folder, tmp_path, monkeypatch):
    target = tmp_path / "engine"
    target.mkdir()
    (target / ENGINE_CARD).write_text("older")

    def fail(*_):
        raise MemoryError

    backend = backend_named("onnxruntime")
    monkeypatch.setattr(backend, "build", fail)
    with pytest.raises(MemoryError):
        build_engine(row4_folder, backend, "fp32", target)
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]
    assert (target / ENGINE_CARD).read_text() == "older"


def test_a_card_of_an_unknown_backend_is_named(engines, tmp_path):
    card = msgspec.structs.replace(read_engine_card(engines["onnxruntime-fp32"]), backend="nnn")
    (tmp_path / ENGINE_CARD).write_bytes(encode(card))
    said = re.escape(f"{tmp_path / ENGINE_CARD} names a backend 'nnn', but there are tensorrt, ")
    with pytest.raises(BadInput, match=said):
        open_engine(tmp_path)
    with pytest.raises(BadInput, match=said):
        require_to_open(card, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b'{"schema": 1, "surprise": 2}', b"\xff\xfe"])
def test_a_card_that_is_none(tmp_path, content):
    (tmp_path / ENGINE_CARD).write_bytes(content)
    with pytest.raises(BadInput, match=r"engines/build\.py"):
        open_engine(tmp_path)


def test_a_card_of_another_version(engines, tmp_path):
    text = (engines["onnxruntime-fp32"] / ENGINE_CARD).read_text()
    (tmp_path / ENGINE_CARD).write_text(text[::-1].replace('1 :"amehcs"', '7 :"amehcs"', 1)[::-1])
    with pytest.raises(BadInput, match="schema 7"):
        open_engine(tmp_path)


def test_an_engine_that_overflows_is_not_written(row4_folder, tmp_path):
    """Large activations that later layers scale back: the same in float32, infinite in half precision."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(row4_folder / "model.onnx")
    scale = {"backbone.conv1.conv1_3.conv.weight": 1e5, "backbone.conv1.conv1_3.conv.bias": 1e5}
    scale |= {f"backbone.res2.res2a.{name}.conv.weight": 1e-5 for name in ("branch2a", "short")}
    for tensor in model.graph.initializer:
        if tensor.name in scale:
            values = numpy_helper.to_array(tensor) * np.float32(scale[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    onnx_file = FileRecord.of(tmp_path / "model.onnx")
    card = msgspec.structs.replace(read_model_card(row4_folder), onnx=onnx_file, probe=None)
    (tmp_path / "model.json").write_bytes(encode(card))
    backend = backend_named("onnxruntime")
    build_engine(tmp_path, backend, "fp32", tmp_path / "full")
    with pytest.raises(GateFailed, match="c2"):
        build_engine(tmp_path, backend, "fp16", tmp_path / "half")
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize("name", ["onnxruntime-fp32", "paddle-fp32"])
@pytest.mark.parametrize("files", [(), ("../model.onnx",), ("engine.json",)], ids=str)
def test_a_card_that_names_other_files(engines, tmp_path, name, files):
    card = read_engine_card(engines[name])
    records = tuple(FileRecord(file, "0" * 64, 1) for file in files)
    (tmp_path / ENGINE_CARD).write_bytes(encode(msgspec.structs.replace(card, files=records)))
    with pytest.raises(BadInput, match="does not name the files"):
        open_engine(tmp_path)


def test_a_file_record_with_a_path_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no file beside it"):
        FileRecord("../model.onnx", "0" * 64, 1).verify(tmp_path)


def test_a_real_half_engine_does_not_open_where_nothing_would_round(engines, monkeypatch):
    card = msgspec.structs.replace(read_engine_card(engines["onnxruntime-fp16"]), emulated=False)
    monkeypatch.setattr(onnx_runtime, "_has_cuda", lambda: False)
    with pytest.raises(EnvironmentMissing, match="would not round"):
        backend_named("onnxruntime").open(engines["onnxruntime-fp16"], card)


def test_an_engine_built_shows_its_proof(engines):
    for folder in engines.values():
        records = read_engine_card(folder).verification
        assert records[-1].stage == "detections"
        assert all(record.passed for record in records)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_is_proved_as_it_is_used(mini_folder, tmp_path, monkeypatch, precision):
    """Where no stages are asked for, a runtime may fuse layers otherwise, and get them wrong."""
    backend = backend_named("onnxruntime")
    opened = backend.open

    def open_disturbed(folder, card, taps=()):
        session = opened(folder, card, taps)
        run = session.run
        disturbed = lambda inputs: (found := run(inputs)) | {"boxes": found["boxes"] + np.float32(99)}  # noqa: E731
        return session if taps else SimpleNamespace(run=disturbed, close=session.close)

    monkeypatch.setattr(backend, "open", open_disturbed)
    with pytest.raises(GateFailed, match=r"at 1 of 25 stages, first at detections \(picture, as used\)"):
        build_engine(mini_folder, backend, precision, tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


class TestChoice:
    def test_auto_takes_the_best_that_runs(self, monkeypatch):
        monkeypatch.setattr(backend_named("tensorrt"), "missing", lambda: "no GPU")
        assert choose_backend("auto", "fp32").name == "openvino"
        monkeypatch.setattr(backend_named("openvino"), "missing", lambda: "not installed")
        assert choose_backend("auto", "fp32").name == "onnxruntime"
        monkeypatch.setattr(backend_named("onnxruntime"), "missing", lambda: "not installed")
        assert choose_backend("auto", "fp32").name == "paddle"

    def test_auto_with_nothing_that_runs(self, monkeypatch):
        for name in registry._MODULES:
            monkeypatch.setattr(backend_named(name), "missing", lambda: "not installed")
        with pytest.raises(EnvironmentMissing, match="not installed"):
            choose_backend("auto", "fp32")

    def test_onnx_runtime_too_old_for_deform_conv(self, monkeypatch):
        monkeypatch.setattr("pssdet.engines.onnx_runtime_session._version", lambda: "1.23.2")
        with pytest.raises(EnvironmentMissing, match=r"1\.25"):
            choose_backend("onnxruntime", "fp32")

    def test_tensorrt_says_everything_that_is_missing(self, monkeypatch):
        from pssdet.engines.backends import tensorrt_gpu

        monkeypatch.setattr(tensorrt_gpu, "cuda_device_count", lambda: 0)
        with pytest.raises(EnvironmentMissing, match=r"GPU.*tensorrt is not installed"):
            choose_backend("tensorrt", "fp16")

    def test_no_driver_means_no_devices(self, monkeypatch):
        def no_library(_):
            raise OSError

        monkeypatch.setattr(devices.ctypes, "CDLL", no_library)
        assert devices.cuda_device_count() == 0


class TestArtifacts:
    def test_a_folder_is_taken_as_it_is(self, row4_folder):
        assert artifacts.model_folder(str(row4_folder), lambda _: None) == row4_folder

    def test_an_export_of_a_users_own_by_its_name(self, row4_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "artifacts").mkdir()
        (tmp_path / "artifacts" / "my_detector").symlink_to(row4_folder)
        assert artifacts.model_folder("my_detector", lambda _: None) == artifacts.ARTIFACTS / "my_detector"

    def test_the_default_engine_is_built_once(self, row4_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        exports = []
        cards = [(row4_folder / "model.json").read_bytes()]

        def export(entry, weights, folder, progress):
            exports.append((entry.name, weights))
            folder.mkdir(parents=True)
            for name in ("model.onnx", "probe.npz"):
                (folder / name).symlink_to(row4_folder / name)
            (folder / "model.json").write_bytes(cards[0])

        monkeypatch.setattr("pssdet.export.pipeline.export_model", export)
        monkeypatch.setattr(artifacts, "DEFAULT_MODEL", ROW4.name)
        first = artifacts.default_engine(lambda _: None)
        assert read_engine_card(first).model.model == ROW4.name
        assert artifacts.default_engine(lambda _: None) == first
        assert exports == [(ROW4.name, "")]
        built = (first / ENGINE_CARD).stat().st_mtime_ns

        # Another export in the same place: the engine of the first one must not be taken for it.
        renamed = msgspec.structs.replace(read_model_card(row4_folder), labels=("other",) * 80)
        (first.parent / "model.json").write_bytes(encode(renamed))
        assert read_engine_card(artifacts.default_engine(lambda _: None)).model.labels[0] == "other"
        assert (first / ENGINE_CARD).stat().st_mtime_ns > built
