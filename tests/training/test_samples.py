"""Batches: pictures and boxes that belong together, in an order that only the seed decides."""

import itertools
import json

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.preprocess import Preprocessing, prepare
from pssdet.training.samples import Batches, flip, group_by_size, padded_size, read_annotations

READER = Preprocessing(96, 96, interpolation="cubic", resize="first")


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("over", [False, True])
def test_flipped_boxes_hold_the_same_pixels(across, over):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[3:7, 5:15] = 255
    flipped, boxes = flip(picture, np.array([[5, 3, 15, 7]], np.float32), across, over)
    x1, y1, x2, y2 = boxes[0].astype(int)
    assert (flipped[y1:y2, x1:x2] == 255).all()
    assert (flipped == 255).sum() == (picture == 255).sum()


def test_padded_size_is_that_of_the_prepared_picture():
    for size in ((240, 320), (352, 256), (299, 360), (33, 100)):
        assert padded_size(size, READER) == prepare(np.zeros((*size, 3), np.uint8), READER).image.shape[1:]


@pytest.mark.parametrize("offset", [0, 1])
def test_batches_hold_what_the_annotations_say(tiny_samples, offset):
    """With a pixel offset the second corner is the box's last pixel."""
    batches = Batches(tiny_samples, READER, 2, 1, offset)
    by_labels = {}
    for sample in tiny_samples:
        by_labels.setdefault(tuple(sample.labels), []).append(sample)
    for number in range(4):
        batch, _ = batches.batch(number)
        assert batch.image.shape[0] == len(batch.boxes) == 2
        for image, content, boxes, labels in zip(*batch, strict=True):
            sources = [
                (sample, prepare(flip(load(sample.path), sample.boxes, across, over)[0], READER), (across, over))
                for sample in by_labels[tuple(labels)]
                for across in (False, True)
                for over in (False, True)
            ]
            sample, ready, flips = next(s for s in sources if np.array_equal(s[1].image, image))
            assert tuple(content) == ready.image_size
            expected = (flip(load(sample.path), sample.boxes, *flips)[1] - [0, 0, offset, offset]) * ready.scale
            assert boxes == pytest.approx(expected, abs=1e-3)


def test_epoch_has_each_picture_once_and_the_next_another_order(tiny_samples):
    batches = Batches(tiny_samples, READER, 2, seed=1)
    first, second = batches._epoch(0), batches._epoch(1)
    seen = list(itertools.chain.from_iterable(first))
    assert len(seen) == len(set(seen))
    assert len(seen) == sum(len(group) // 2 * 2 for group in group_by_size(tiny_samples, READER))
    assert first != second
    for group in first:
        assert len({padded_size(tiny_samples[i].size, READER) for i in group}) == 1


def test_batch_depends_on_seed_and_number_alone(tiny_samples):
    first, again = Batches(tiny_samples, READER, 2, seed=1), Batches(tiny_samples, READER, 2, seed=1)
    first.batch(3)
    first.batch(40)
    batches = [each.batch(7) for each in (first, again)]
    np.testing.assert_array_equal(batches[0][0].image, batches[1][0].image)
    assert batches[0][1].random_sample() == batches[1][1].random_sample()
    other = Batches(tiny_samples, READER, 2, seed=2).batch(7)[0]
    assert other.image.shape != batches[0][0].image.shape or (other.image != batches[0][0].image).any()


def test_too_few_pictures_are_refused(tiny_samples):
    with pytest.raises(BadInput, match="do not fill"):
        Batches(tiny_samples[:1], READER, 2, seed=1)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": [{"id": 1}], "annotations": [{"bbox": [1]}]}'])
def test_file_that_is_no_coco_file_is_refused(content, tmp_path):
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(BadInput, match="COCO instances"):
        read_annotations(tmp_path / "instances.json")


def test_picture_without_annotations_has_empty_boxes(tmp_path):
    content = {"images": [{"id": 5, "file_name": "a.jpg", "height": 4, "width": 6}], "annotations": []}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (sample,) = read_annotations(tmp_path / "instances.json")
    assert sample.boxes.shape == (0, 4)
    assert sample.path == tmp_path / "a.jpg"
