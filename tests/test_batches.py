"""Image i of a batch equals the same image alone at the same padded size, whatever the others are.

At a small size, which the property does not depend on. With a row's own shift of the background logit one
image has more candidates than there is room for, and another none.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from plain import nms
from reference import synthetic_image

from pssdet.models.architecture import MAX_DETECTIONS, NMS_THRESHOLD, PADDING_MULTIPLE, SCORE_THRESHOLD
from pssdet.models.matching import detection_rows
from pssdet.models.stages import compare, first_broken, rows_of_image

SHIFTS = {"mini_faster": 0.0, "mini_cascade": 0.0, 1: 5.0, 2: 8.0, 3: 16.0, 4: 0.0}
PADDED = (192, 256)
SCALE = 0.75

pytestmark = pytest.mark.parametrize("row", SHIFTS, indirect=True, ids="{}".format)


def shift_of(row):
    return SHIFTS[row.entry.row or row.entry.name]


def network_input(content_size, seed=None, contrast=1.0):
    """A mosaic of some seed, or the uniform grey of the mean colour."""
    image = np.zeros((1, 3, *PADDED), np.float32)
    if seed is not None:
        image = (contrast * synthetic_image(seed, content_size, PADDED)).astype(np.float32)
    return {
        "image": image,
        "image_size": np.float32([content_size]),
        "original_size": np.round(np.float32([content_size]) / SCALE),
        "scale_factor": np.full((1, 2), SCALE, np.float32),
    }


#: Four contents of different sizes, all padded to 192x256; the last one has nothing to find.
IMAGES = (
    network_input((192, 250), seed=2, contrast=3.0),
    network_input((192, 256), seed=0),
    network_input((170, 240), seed=1),
    network_input((180, 256)),
)
EMPTY = 3


def batch_of(order):
    return {name: np.concatenate([IMAGES[index][name] for index in order]) for name in IMAGES[0]}


def candidates(entry, tensors, inputs, image=0):
    """How many boxes of one image are left after NMS, before the best hundred are taken."""
    numerics, batch = entry.numerics, len(tensors["count"])
    regions = int(tensors["proposal_count"][image])
    scores, boxes = (
        rows_of_image(name, tensors[name], image, batch)[:regions]
        for name in ("class_probabilities", "decoded_boxes")
    )
    scores = scores[:, 1:] if numerics.background == "first" else scores[:, :-1]
    height, width = inputs["original_size" if numerics.decode_space == "original" else "image_size"][image]
    boxes = np.clip(boxes, 0, np.array([width, height] * 2) - numerics.pixel_offset)
    boxes = np.broadcast_to(boxes, (*scores.shape, 4))
    high = [np.flatnonzero(of_class > SCORE_THRESHOLD) for of_class in scores.T]
    kept = [
        nms(boxes[regions, label], scores[regions, label], NMS_THRESHOLD, numerics.pixel_offset)
        for label, regions in enumerate(high)
    ]
    return sum(map(len, kept))


def assert_the_same(together, order, alone):
    for image, index in enumerate(order):
        expected = alone[index]
        for name in ("labels", "count"):
            np.testing.assert_array_equal(together[name][image], expected[name][0])
        for name, limit in (("boxes", 1e-3), ("scores", 1e-5)):
            np.testing.assert_allclose(together[name][image], expected[name][0], rtol=0, atol=limit)


@pytest.fixture(scope="module")
def alone(row):
    """Each image's outputs in ONNX Runtime."""
    return [row.run_onnx(inputs, shift_of(row)) for inputs in IMAGES]


def test_one_image_has_too_many_candidates_and_another_none(row, alone):
    found = [candidates(row.entry, tensors, inputs) for tensors, inputs in zip(alone, IMAGES, strict=True)]
    assert max(found) > MAX_DETECTIONS
    assert found[EMPTY] == 0
    assert sorted(found)[1] > 0
    assert [int(tensors["count"][0]) for tensors in alone] == [min(count, MAX_DETECTIONS) for count in found]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(order=[0, 1, 2, 3])
@example(order=[3, 2, 1, 0])
@given(order=st.lists(st.integers(0, len(IMAGES) - 1), min_size=1, max_size=5))
def test_onnx_runtime(row, alone, order):
    assert_the_same(row.run_onnx(batch_of(order), shift_of(row)), order, alone)


def test_paddle(row):
    shift = shift_of(row)
    alone = [row.run_paddle(inputs, shift) for inputs in IMAGES]
    order = [3, 0, 2, 1]
    assert_the_same(row.run_paddle(batch_of(order), shift), order, alone)


def test_boxes_are_clipped_to_each_images_own_size(row):
    """In a batch padded to a common size: the padding of the tensor is not the image's."""
    small = network_input((150, 200), seed=4)
    inputs = {name: np.concatenate([IMAGES[1][name], small[name]]) for name in small}
    shift = shift_of(row)
    tensors = row.run_onnx(inputs, shift)
    numerics = row.entry.numerics
    multiple = PADDING_MULTIPLE if numerics.proposal_clip == "padded" else 1
    reached = []
    for image, size in enumerate(inputs["image_size"]):
        proposals = tensors["proposals"][image, : tensors["proposal_count"][image]]
        bound = (np.ceil(size / multiple) * multiple - numerics.pixel_offset)[::-1]
        assert (proposals[:, 2:] <= bound).all()
        reached.append((proposals[:, 2:] == bound).any())
        height, width = inputs["original_size"][image] - numerics.pixel_offset
        assert (detection_rows(tensors, image)[:, 4:] <= [width, height]).all()
    assert any(reached)
    assert not first_broken(compare("common", row.entry.architecture, row.run_paddle(inputs, shift), tensors))
