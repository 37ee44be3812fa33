"""The plain numpy statements against Paddle's own operators, on what those define."""

import math

import numpy as np
import plain
import plain_roi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import DETERMINISTIC, assert_agrees

OFFSETS = [0, 1]
STRIDES = (4, 8)
SIZES = (16.0, 32.0)
RATIOS = (0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def originals():
    import paddle_operators

    return paddle_operators


def raw_iou(a, b, offset):
    """As ``multiclass_nms3`` has it: disjoint by the raw corners, and an inverted box has area 0."""
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return 0.0
    inner = np.prod(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + offset)
    union = sum(0.0 if plain.is_inverted(box) else plain.sides(box, offset).prod() for box in (a, b)) - inner
    return inner / union if union else math.nan


@settings(DETERMINISTIC, max_examples=400)
@given(values=hnp.arrays(np.int8, (2, 4), elements=st.integers(-3, 12), fill=st.nothing()))
def test_readings_of_the_offset_differ_only_between_boxes_thinner_than_two_pixels(values):
    """What the decisions say of the offset in NMS; without an offset and with an area there is one reading."""
    a, b = (np.array([x, y, x + w, y + h]) / 4 for x, y, w, h in values.astype(float))
    if (plain.iou(a, b, 1) > 0.5) != (raw_iou(a, b, 1) > 0.5):
        assert np.maximum(plain.sides(a, 0), plain.sides(b, 0)).min() < 2
    if min(*plain.sides(a, 0), *plain.sides(b, 0)) > 0:
        assert plain.iou(a, b, 0) == raw_iou(a, b, 0)


@pytest.mark.parametrize("offset", OFFSETS)
@settings(DETERMINISTIC, max_examples=100)
@given(data=st.data(), limit=st.sampled_from([2, 5, 100]))
def test_detections(originals, offset, data, limit):
    """Boxes that overlap alike in both readings, or inverted ones; equal scores and equal boxes among them."""
    regions, classes = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3))
    shape = (regions, classes, 2)
    corners = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(0, 12)))
    # By less than a pixel, as legacy decoding makes them.
    inverted = st.integers(-3, -1) if offset else st.nothing()
    sides = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(8, 24) | inverted))
    boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32) / 4
    scores = (
        data.draw(hnp.arrays(np.int8, (regions, classes), elements=st.integers(0, 4))).astype(np.float32) / 4
    )
    limits = {"score_threshold": 0.05, "nms_threshold": 0.5, "limit": limit, "offset": offset}
    expected = originals.detections(boxes, scores, **limits)
    labels, found, kept = plain.detections_of_image(boxes, scores, **limits)
    obtained = np.column_stack([labels, found, kept])
    np.testing.assert_array_equal(obtained, expected[plain.by_falling_score(expected[:, 1])])


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("offset", OFFSETS)
@settings(DETERMINISTIC, max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    multiple=st.sampled_from([1, 32]),
)
def test_proposals(originals, offset, rounded, seed, height, width, multiple):
    """Without equal scores, whose order in Paddle depends on the device; see the decisions."""
    generator = np.random.default_rng(seed)
    shapes = [(height, width), (-(-height // 2), -(-width // 2))]
    scores = [generator.normal(0, 2, (3, h, w)).astype(np.float32) for h, w in shapes]
    deltas = [
        (generator.normal(0, 0.3, (12, h, w)) * generator.choice([1, 1, 20], (12, h, w))).astype(np.float32)
        for h, w in shapes
    ]
    image_size = generator.integers(1, [4 * height + 1, 4 * width + 1])
    anchors = [
        [plain.base_anchor(size, stride, ratio, rounded) for ratio in RATIOS]
        for size, stride in zip(SIZES, STRIDES, strict=True)
    ]
    limits = {"pre": 20, "post": 9}
    levels = []
    for level, (h, w) in enumerate(shapes):
        y, x = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
        everywhere = np.stack([x, y, x, y], axis=-1)[:, :, None] * STRIDES[level] + np.array(anchors[level])
        bound = np.ceil(image_size / multiple) * multiple
        arrays = scores[level], deltas[level], bound, everywhere
        levels.append(originals.proposals_of_level(*arrays, **limits, threshold=0.7, offset=offset))
    boxes, found = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    # Without the box that Paddle makes up for an empty level.
    boxes, found = boxes[found != 0], found[found != 0]
    best = plain.by_falling_score(found)[:9]

    def oracle(threshold_moved, min_size_moved):
        moved = {"threshold": 0.7 + threshold_moved, "min_size": 1.0 + min_size_moved}
        arrays = scores, deltas, image_size, anchors, STRIDES
        expected = plain.proposals_of_image(*arrays, **limits, **moved, offset=offset, multiple=multiple)
        return dict(zip(("boxes", "scores"), expected, strict=True))

    assert_agrees({"boxes": boxes[best], "scores": found[best]}, oracle, [1e-3, 1e-3], {"boxes": 1e-3})


@pytest.mark.parametrize("offset", OFFSETS)
@settings(DETERMINISTIC, max_examples=60)
@given(
    sides=hnp.arrays(
        np.int16, (8, 2), elements=st.integers(-2000, 3600) | st.sampled_from([444, 448, 892, 896])
    )
)
def test_levels(originals, offset, sides):
    """Sides in quarter pixels; boxes may be inverted."""
    boxes = np.concatenate([np.zeros_like(sides), sides], axis=1).astype(np.float32) / 4
    assert [plain_roi.level_of(box, offset) for box in boxes] == originals.levels_of(boxes, offset).tolist()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_roi_align(originals, aligned, ratio, seed):
    """Regions of any size above none, some of them outside of the map."""
    generator = np.random.default_rng(seed)
    feature_map = generator.normal(0, 1, (2, 5, 7)).astype(np.float32)
    corners = generator.uniform(-20, 30, (12, 2))
    boxes = np.concatenate([corners, corners + generator.gamma(1, 15, (12, 2))], axis=1).astype(np.float32)
    expected = originals.roi_align(feature_map, boxes, 4, aligned=aligned, sampling_ratio=ratio)
    for box, features in zip(boxes, expected, strict=True):
        obtained = plain_roi.roi_align(
            feature_map.astype(np.float64), box, 4, aligned=aligned, sampling_ratio=ratio
        )
        np.testing.assert_allclose(obtained, features, atol=1e-4)
