"""Batches: pictures and boxes that belong together, in an order that only the seed decides."""

import itertools
import json

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.preprocess import prepare
from pssdet.models.reader import Preprocessing
from pssdet.training.samples import Batches, annotated_pictures, flip, group_by_size, padded_size
from pssdet.validation.ground_truth import read_ground_truth

READER = Preprocessing(96, 96, interpolation="cubic", resize="first")


@pytest.mark.parametrize("horizontally", [False, True])
@pytest.mark.parametrize("vertically", [False, True])
def test_flipped_boxes_hold_the_same_pixels(horizontally, vertically):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[3:7, 5:15] = 255
    flipped, boxes = flip(picture, np.array([[5, 3, 15, 7]], np.float32), horizontally, vertically)
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
                (
                    sample,
                    prepare(flip(load(sample.path), sample.boxes, horizontally, vertically)[0], READER),
                    (horizontally, vertically),
                )
                for sample in by_labels[tuple(labels)]
                for horizontally in (False, True)
                for vertically in (False, True)
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


@pytest.fixture
def one_picture(tmp_path):
    """A data set of one picture without objects, and of a category whose id is not its label."""
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 4, "width": 6}],
        "annotations": [],
        "categories": [{"id": 7, "name": "cat"}],
    }
    (tmp_path / "a.jpg").touch()

    def read(annotations=()):
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content | {"annotations": list(annotations)}))
        return read_ground_truth(path, tmp_path, ("cat",))

    return read


def test_boxes_are_corners_and_labels_count_from_zero(one_picture):
    objects = [{"image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 1.5], "area": 4.5}]
    (sample,) = annotated_pictures(one_picture(objects))
    assert sample.size == (4, 6)
    assert sample.boxes.tolist() == [[1, 2, 4, 3.5]]
    assert sample.labels.tolist() == [0]


def test_picture_without_annotations_has_empty_boxes(one_picture, tmp_path):
    (sample,) = annotated_pictures(one_picture())
    assert sample.boxes.shape == (0, 4)
    assert sample.path == tmp_path / "a.jpg"


def test_a_missing_picture_is_refused(one_picture):
    truth = one_picture()._replace(problems=(("b.jpg", "there is no such file in scenes"),))
    with pytest.raises(BadInput, match=r"b\.jpg, but there is no such file in scenes; render the scenes again"):
        annotated_pictures(truth)
