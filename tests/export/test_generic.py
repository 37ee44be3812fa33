"""Detectors of 676 classes: as many batch entries of NMS per image, and the whole export at a narrow width."""

import msgspec
import numpy as np
import plain
import pytest
from single_call import SingleCall
from test_functions import random_boxes

from pssdet.export.functions import nms as nms_function
from pssdet.models.architecture import CASCADE_REG_WEIGHTS, Architecture
from pssdet.models.card import read_model_card
from pssdet.models.labels import numbered
from pssdet.models.numerics import STATIC
from pssdet.models.preprocess import PICTURE
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import ZooEntry

CLASSES = 676
NARROW = ZooEntry(
    0,
    "narrow_generic",
    "a narrow generic detector",
    "nowhere",
    None,
    Architecture(
        blocks=(1, 1, 1, 1),
        stem_width=4,
        base_width=4,
        fpn_channels=8,
        head_width=16,
        num_classes=CLASSES,
        pre_nms_top_n=50,
        post_nms_top_n=20,
        reg_weights=CASCADE_REG_WEIGHTS[:2],  # of a third head there is nothing new to see
    ),
    STATIC,
    Preprocessing(160, 160, interpolation="linear", resize="last"),
    labels=numbered(CLASSES),
)


def test_nms_of_two_images_equals_plain_numpy():
    """Boxes are those of a cascade, one for all classes; both images find more than there is room for."""
    generator = np.random.default_rng(3)
    boxes = random_boxes(generator, 2, 15, 1)
    scores = np.where(
        generator.uniform(size=(2, 15, CLASSES)) < 0.02, generator.uniform(0, 1, (2, 15, CLASSES)), 0
    )
    scores = scores.astype(np.float32)
    counts = [15, 12]
    suppress = SingleCall(nms_function.multiclass_nms(), nms_function.attributes(STATIC))
    obtained = suppress(boxes, scores, np.asarray(counts, np.int32))
    for image, count in enumerate(counts):
        expected_labels, expected_scores, expected_boxes = plain.detections_of_image(
            boxes[image, :count],
            scores[image, :count],
            score_threshold=0.05,
            nms_threshold=0.5,
            limit=100,
            offset=1,
        )
        found_boxes, found_scores, labels, total = (values[image] for values in obtained)
        assert total == len(expected_labels) == 100
        np.testing.assert_array_equal(labels, expected_labels)
        assert labels.max() > 600
        np.testing.assert_array_equal(found_scores, expected_scores)
        np.testing.assert_array_equal(found_boxes, expected_boxes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from pssdet.export.pipeline import export_model

    folder = tmp_path_factory.mktemp("generic")
    export_model(NARROW, "none", folder)
    return folder


def test_the_export_is_verified_with_677_outputs(folder):
    card = read_model_card(folder)
    assert card.architecture.num_classes == len(card.labels) == CLASSES
    assert all(record.passed for record in card.verification)
    assert {"class_probabilities", "decoded_boxes", "detections"} <= {
        record.stage for record in card.verification
    }


def test_labels_reach_what_the_detector_finds(folder, tmp_path):
    """Seeded scores of so many classes are low: the last class is made the likely one."""
    import onnx

    from pssdet.engines.build_engine import build_engine
    from pssdet.engines.registry import choose_backend
    from pssdet.models.card import FileRecord, encode
    from pssdet.runtime.detector import Detector

    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        if "bbox_score" in tensor.name and tensor.name.endswith(".bias"):
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[-1] += 8
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    onnx_file = FileRecord.of(tmp_path / "model.onnx")
    card = msgspec.structs.replace(read_model_card(folder), onnx=onnx_file, probe=None)
    (tmp_path / "model.json").write_bytes(encode(card))
    build_engine(tmp_path, choose_backend("onnxruntime", "fp32"), "fp32", tmp_path / "engine")
    with Detector.load(tmp_path / "engine") as detector:
        for detections in detector([PICTURE, PICTURE]):
            assert len(detections) > 0
            assert {detections.name(index) for index in range(len(detections))} == {"class 675"}
