"""The export as a whole: what it writes, and what it leaves behind when it fails."""

import numpy as np
import onnx
import pytest
from reference import ROW4

from pssdet.errors import BadInput, GateFailed
from pssdet.export import pipeline
from pssdet.export.pipeline import DetectorExport
from pssdet.models.card import StageRecord, read_model_card
from pssdet.models.stages import tap_names


@pytest.fixture(scope="module")
def exported(row4_folder):
    return onnx.load(row4_folder / "model.onnx")


class TestExportedModel:
    def test_inputs_and_outputs_are_the_contract(self, exported):
        def shapes(values):
            return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

        assert shapes(exported.graph.input) == {
            "image": ["N", 3, "H", "W"],
            "image_size": ["N", 2],
            "original_size": ["N", 2],
            "scale_factor": ["N", 2],
        }
        assert shapes(exported.graph.output) == {
            "boxes": ["N", 100, 4],
            "scores": ["N", 100],
            "labels": ["N", 100],
            "count": ["N"],
        }

    def test_operators(self, exported):
        kinds = {(node.domain, node.op_type) for node in exported.graph.node}
        calls = {name for domain, name in kinds if domain == "pssdet"}
        assert calls == {"GenerateProposals", "MultilevelRoiAlign", "MulticlassNms"}
        everywhere = kinds | {("", node.op_type) for function in exported.functions for node in function.node}
        assert not {name for _, name in everywhere} & {
            "If",
            "Loop",
            "Scan",
            "BatchNormalization",
            "SequenceInsert",
        }
        assert sum(node.op_type == "DeformConv" for node in exported.graph.node) == 13
        assert [(i.domain, i.version) for i in exported.opset_import] == [("", 19), ("pssdet", 1)]

    def test_every_stage_can_be_tapped(self, exported):
        made = {name for node in exported.graph.node for name in node.output}
        assert set(tap_names(ROW4.architecture)) <= made

    def test_nothing_is_dead(self, exported):
        used = {name for node in exported.graph.node for name in node.input}
        used |= {output.name for output in exported.graph.output}
        dead = [node.name for node in exported.graph.node if used.isdisjoint(node.output)]
        assert dead == []
        assert {tensor.name for tensor in exported.graph.initializer} <= used

    def test_parameters_bear_the_checkpoints_names(self, exported, row4_parameters):
        names = {tensor.name for tensor in exported.graph.initializer}
        weights = {name for name in row4_parameters if name.endswith(".weight") and ".norm." not in name}
        assert weights <= names


class TestCard:
    def test_says_where_everything_comes_from(self, row4_folder):
        card = read_model_card(row4_folder)
        assert card.model == ROW4.name
        assert card.weights.kind == "seeded"
        assert card.onnx.verify(row4_folder).name == "model.onnx"
        assert card.numerics == ROW4.numerics
        assert len(card.labels) == 80
        assert card.graph.nodes < card.graph.nodes_converted
        assert {"python", "paddlepaddle", "onnx", "onnxruntime"} <= set(card.versions)

    def test_holds_the_verification(self, row4_folder):
        records = read_model_card(row4_folder).verification
        assert {record.case for record in records} == {
            "picture",
            "batch of two, image 1",
            "batch of two, image 2",
            "probe",
        }
        assert all(record.passed for record in records)
        assert any(record.difference > 0 for record in records)

    def test_an_altered_model_is_noticed(self, row4_folder, tmp_path):
        record = read_model_card(row4_folder).onnx
        content = bytearray((row4_folder / "model.onnx").read_bytes())
        content[-1] ^= 1
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(BadInput, match="sha256"):
            record.verify(tmp_path)


class TestFailures:
    @pytest.fixture
    def fake_conversion(self, monkeypatch, row4_folder, row4_parameters):
        """Export without converting again: the exported model stands in."""
        model = onnx.load(row4_folder / "model.onnx")
        record = read_model_card(row4_folder).graph
        monkeypatch.setattr(DetectorExport, "convert", lambda _: (model, record))
        return model

    def test_a_model_that_differs_is_not_written(self, monkeypatch, tmp_path, fake_conversion):
        bias = next(t for t in fake_conversion.graph.initializer if t.name == "bbox_head.bbox_score.bias")
        values = onnx.numpy_helper.to_array(bias).copy()
        values[5] += 1
        bias.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), bias.name))
        with pytest.raises(GateFailed, match="class_probabilities"):
            pipeline.export_model(ROW4, "none", tmp_path / "out")
        assert list(tmp_path.iterdir()) == []

    def test_an_older_export_survives_a_failure(self, monkeypatch, tmp_path, fake_conversion):
        (tmp_path / "model.onnx").write_bytes(b"older")
        failed = StageRecord("picture", "p2", 1.0, 1e-4, "relative", 1.0, passed=False)
        monkeypatch.setattr(DetectorExport, "compare", lambda *_: [failed])
        with pytest.raises(GateFailed, match="p2"):
            pipeline.export_model(ROW4, "none", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
        assert (tmp_path / "model.onnx").read_bytes() == b"older"

    def test_zero_detections_are_a_valid_result(self, row4_model, run_row4_onnx, tmp_path):
        """A checkpoint that finds nothing in the picture must not fail the verification."""
        import paddle

        bias = row4_model.bbox_head.bbox_score.bias
        original = bias.numpy()
        silent = original.copy()
        silent[-1] += 40
        bias.set_value(paddle.to_tensor(silent))

        class Session:
            def run(self, inputs):
                return run_row4_onnx(inputs, 40.0)

        try:
            records = DetectorExport(ROW4, row4_model).compare(Session(), tmp_path)
        finally:
            bias.set_value(paddle.to_tensor(original))
        assert all(record.passed for record in records)


class TestOwnCheckpoint:
    def test_a_users_own_checkpoint_of_the_bundled_detector(self, tmp_path, mini_folder):
        """The zoo knows the hash of its own checkpoint, which must not be asked of another."""
        import pickle

        from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint
        from pssdet.models.parameters import resolve_weights
        from pssdet.models.zoo import find

        entry = find("mini_faster")
        parameters = read_checkpoint(resolve_weights(entry.checkpoint))
        parameters["bbox_head.bbox_score.bias"] = parameters["bbox_head.bbox_score.bias"] + np.float32(0.1)
        with (tmp_path / "own.pdparams").open("wb") as stream:
            pickle.dump(parameters, stream, protocol=4)
        card = pipeline.export_model(entry, str(tmp_path / "own.pdparams"), tmp_path / "out")
        bundled = read_model_card(mini_folder)
        assert card.weights.sha256 not in ("", bundled.weights.sha256)
        assert bundled.weights.sha256 == entry.sha256
