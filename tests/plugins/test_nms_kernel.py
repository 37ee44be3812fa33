"""The kernels of ``MulticlassNms``, run in the emulator, against the ONNX function in ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest
import test_nms_properties as cases
from emulated_selection import MulticlassNms
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import DETERMINISTIC

from pssdet.errors import BadInput
from pssdet.models.architecture import MAX_DETECTIONS

DATA = Path(__file__).resolve().parents[1] / "data" / "reference"


def assert_same(kernels, offset, case, limit=MAX_DETECTIONS):
    """Everything is equal: the boxes are the inputs'."""
    reference = cases.nms(offset, limit)
    for got, wanted in zip(MulticlassNms(kernels, reference.attributes)(*case), reference(*case), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("offset", cases.OFFSETS)
class TestOnTheLattice:
    @settings(DETERMINISTIC, max_examples=60)
    @given(case=cases.batches(), limit=st.sampled_from([1, 3, MAX_DETECTIONS]))
    def test_equals_the_onnx_function(self, kernels, offset, case, limit):
        assert_same(kernels, offset, case, limit)

    @settings(DETERMINISTIC, max_examples=60)
    @given(case=cases.batches(), seed=st.integers(0, 2**16), share=st.sampled_from([0.1, 0.5, 1.0]))
    def test_values_that_are_no_numbers(self, kernels, offset, case, seed, share):
        generator = np.random.default_rng(seed)
        odd = np.float32([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45])
        boxes, scores = (
            np.where(generator.random(x.shape) < share, generator.choice(odd, x.shape), x) for x in case[:2]
        )
        assert_same(kernels, offset, (boxes, scores, case[2]))


@pytest.mark.parametrize("offset", cases.OFFSETS)
class TestOffTheLattice:
    @settings(DETERMINISTIC, max_examples=15)
    @given(
        seed=st.integers(0, 2**16),
        batch=st.integers(1, 3),
        regions=st.integers(1, 80),
        classes=st.integers(1, 5),
    )
    def test_equals_the_onnx_function(self, kernels, offset, seed, batch, regions, classes):
        generator = np.random.default_rng(seed)
        assert_same(
            kernels, offset, real_case(generator, batch, regions, classes, generator.choice([1, classes]))
        )

    def test_many_regions_of_many_classes(self, kernels, offset):
        """As of a whole image, with scores of few kinds: most of the joint choice is among equals."""
        generator = np.random.default_rng(3)
        boxes, scores, counts = real_case(generator, 2, 300, 80, 80)
        assert_same(kernels, offset, (boxes, scores**6, counts))
        assert_same(kernels, offset, (boxes, np.round(scores * 8) / 8, counts))

    def test_the_most_regions_and_detections(self, kernels, offset):
        case = real_case(np.random.default_rng(4), 1, 2048, 2, 1)
        assert_same(kernels, offset, case, 2048)


def real_case(generator, batch, regions, classes, box_classes):
    corners = generator.uniform(0, 300, (batch, regions, box_classes, 2))
    sides = generator.gamma(2, 40, (batch, regions, box_classes, 2)) - 5
    boxes = np.concatenate([corners, corners + sides], axis=3).astype(np.float32)
    scores = generator.uniform(0, 1, (batch, regions, classes)).astype(np.float32)
    return boxes, scores, generator.integers(0, regions + 1, batch).astype(np.int32)


@pytest.mark.parametrize("row", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", cases.OFFSETS)
def test_the_heads_of_the_published_rows(kernels, row, offset):
    """Class scores and boxes as Paddle's heads gave them, with the background's column among the classes."""
    record = np.load(DATA / f"row{row}_photo_rendered_scene.npz")
    scores, boxes = record["class_probabilities"], record["decoded_boxes"]
    columns = boxes.shape[1] if boxes.shape[1] > 1 else scores.shape[1]
    assert_same(
        kernels, offset, (boxes[None], scores[None, :, :columns].copy(), np.array([len(scores)], np.int32))
    )


@pytest.mark.parametrize("change", [{"max_detections": 0}, {"max_detections": 2049}, {"nms_threshold": -0.5}])
def test_what_the_kernels_refuse(kernels, change):
    case = real_case(np.random.default_rng(0), 1, 5, 2, 1)
    with pytest.raises(BadInput, match=next(iter(change))):
        MulticlassNms(kernels, cases.nms(0).attributes | change)(*case)


def test_too_many_regions(kernels):
    with pytest.raises(BadInput, match="regions=2049"):
        assert_same(kernels, 0, real_case(np.random.default_rng(0), 1, 2049, 1, 1))
