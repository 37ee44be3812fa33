"""The export of a classifier: what it writes, and that it writes nothing that differs from Paddle."""

import json
import pickle

import numpy as np
import onnx
import pytest
from classifier_parts import (
    NARROW,
    NARROW_ENTRY,
    manifest,
    reference,
    reference_input,
    static_values,
    under_old_names,
)

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.errors import BadInput, GateFailed
from pssdet.export.pipeline import ClassifierExport, export_model
from pssdet.models.card import encode, read_classifier_card, read_engine_card, read_model_card
from pssdet.models.classification import CLASSIFIER_STAGES, RESNET50_VD_SSLD
from pssdet.models.network.layers import Classifier
from pssdet.models.network.reference_run import parameter_shapes, run_classifier, with_parameters
from pssdet.models.parameters import seeded_parameters


@pytest.fixture(scope="module")
def parameters():
    return seeded_parameters(parameter_shapes(Classifier(NARROW)))


@pytest.fixture
def fake_conversion(monkeypatch, classifier_folder):
    """Export without converting again: the exported model stands in."""
    model = onnx.load(classifier_folder / "model.onnx")
    record = read_classifier_card(classifier_folder).graph
    monkeypatch.setattr(ClassifierExport, "convert", lambda _: (model, record))
    return model


def test_inputs_and_outputs(classifier_folder):
    graph = onnx.load(classifier_folder / "model.onnx").graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"image": ["N", 3, "H", "W"], "logits": ["N", 10], "probabilities": ["N", 10]}
    assert not {node.op_type for node in graph.node} & {
        "BatchNormalization",
        "If",
        "Loop",
        "DeformConv",
        "Identity",
    }


def test_the_card_says_what_a_consumer_needs(classifier_folder):
    card = read_classifier_card(classifier_folder)
    assert card.onnx.verify(classifier_folder).name == "model.onnx"
    assert (card.preprocessing.resize_short, card.preprocessing.crop) == (64, 48)
    assert card.labels[9] == "class 9"
    assert [(output.name, output.shape) for output in card.outputs] == [
        ("logits", ("N", 10)),
        ("probabilities", ("N", 10)),
    ]
    assert card.graph.nodes < card.graph.nodes_converted
    assert {(record.case, record.stage) for record in card.verification} == {
        (case, stage) for case in ("picture", "batch of two", "uncropped") for stage in CLASSIFIER_STAGES
    }
    assert all(record.passed for record in card.verification)
    assert any(record.difference > 0 for record in card.verification)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (3, 47, 61)])
def test_any_batch_and_size_in_onnx_runtime(classifier_folder, parameters, batch, height, width):
    image = np.random.default_rng(0).normal(size=(batch, 3, height, width)).astype(np.float32)
    model = Classifier(NARROW)
    with_parameters(model, parameters)
    expected = run_classifier(model, image)["probabilities"]
    obtained = OnnxRuntimeSession(classifier_folder / "model.onnx", (), cuda=False).run({"image": image})
    np.testing.assert_allclose(obtained["probabilities"], expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-3


def test_a_checkpoint_under_the_published_names(tmp_path, parameters, fake_conversion):
    (tmp_path / "own.pdparams").write_bytes(pickle.dumps(under_old_names(parameters, NARROW), protocol=2))
    card = export_model(NARROW_ENTRY, str(tmp_path / "own.pdparams"), tmp_path / "out")
    assert card.weights.kind == "checkpoint"
    assert card.weights.sha256
    assert read_classifier_card(tmp_path / "out") == card


def test_a_checkpoint_without_the_linear_layer(tmp_path, parameters, fake_conversion):
    names = {name: value for name, value in under_old_names(parameters, NARROW).items() if "out." not in name}
    (tmp_path / "own.pdparams").write_bytes(pickle.dumps(names, protocol=2))
    with pytest.raises(BadInput, match=r"2 missing \(fc\.weight, fc\.bias\)"):
        export_model(NARROW_ENTRY, str(tmp_path / "own.pdparams"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("parameter", "stage"), [("backbone.res3.res3a.branch2b.conv.bias", "c3"), ("fc.bias", "logits")]
)
def test_a_model_that_differs_is_not_written(tmp_path, fake_conversion, parameter, stage):
    tensor = next((t for t in fake_conversion.graph.initializer if t.name == parameter), None)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0] += 0.5
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    with pytest.raises(GateFailed, match=f"first at {stage} "):
        export_model(NARROW_ENTRY, "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_published_classifier_gives_the_logits_of_the_original_program(tmp_path):
    """From a checkpoint of full size under the names of PaddleClas 2.0 to ONNX."""
    values = static_values()
    renamed = {name: values[static] for static, name, _, _ in manifest()}
    (tmp_path / "own.pdparams").write_bytes(pickle.dumps(renamed, protocol=2))
    folder = tmp_path / "out"
    export_model(RESNET50_VD_SSLD, str(tmp_path / "own.pdparams"), folder)
    stored = reference()["logits"]
    obtained = OnnxRuntimeSession(folder / "model.onnx", (), cuda=False).run({"image": reference_input()})
    np.testing.assert_allclose(obtained["logits"], stored, rtol=0, atol=1e-5 * np.abs(stored).max())


class TestCards:
    def test_the_order_of_their_fields_is_part_of_the_format(self, classifier_folder):
        from fake_engine import fake_card

        common = [
            "labels",
            "weights",
            "onnx",
            "inputs",
            "outputs",
            "graph",
            "versions",
            "verification",
            "schema",
        ]
        detector = json.loads(encode(fake_card().model))
        classifier = json.loads((classifier_folder / "model.json").read_text())
        assert list(detector) == ["model", "architecture", "numerics", "preprocessing", "probe", *common]
        assert list(classifier) == ["model", "task", "architecture", "preprocessing", *common]

    def test_whoever_wants_a_detector_is_told(self, classifier_folder):
        for read in (read_model_card, read_engine_card):
            with pytest.raises(BadInput, match="is an exported classifier, a detector is needed"):
                read(classifier_folder)

    def test_whoever_wants_a_classifier_is_told(self, tmp_path):
        from fake_engine import fake_card

        (tmp_path / "model.json").write_bytes(encode(fake_card().model))
        with pytest.raises(BadInput, match="not a classifier's card"):
            read_classifier_card(tmp_path)
        with pytest.raises(BadInput, match=r"not a folder with model\.json"):
            read_classifier_card(tmp_path / "nowhere")

    def test_a_card_whose_crop_does_not_fit(self, classifier_folder, tmp_path):
        content = (classifier_folder / "model.json").read_text()
        (tmp_path / "model.json").write_text(content.replace('"crop": 48', '"crop": 65'))
        with pytest.raises(BadInput, match="does not fit"):
            read_classifier_card(tmp_path)
