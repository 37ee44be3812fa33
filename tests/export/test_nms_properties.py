"""Properties of ``MulticlassNms`` over random batches, in both pixel conventions."""

import functools

import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import DETERMINISTIC, assert_agrees, assert_images_stand_alone
from single_call import SingleCall

from pssdet.export.functions import nms as nms_function
from pssdet.models.architecture import MAX_DETECTIONS, NMS_THRESHOLD, SCORE_THRESHOLD
from pssdet.models.numerics import DYGRAPH, STATIC

OFFSETS = [DYGRAPH.pixel_offset, STATIC.pixel_offset]
EXACT: dict[str, float] = {}
JUST_ABOVE = np.nextafter(np.float32(SCORE_THRESHOLD), np.float32(1))
#: Few, so that most candidates tie; with both sides of the threshold.
SCORES = np.array([0, SCORE_THRESHOLD, JUST_ABOVE, 0.25, 0.5, 1], np.float32)


@functools.cache
def nms(offset, limit=MAX_DETECTIONS):
    numerics = DYGRAPH if offset == DYGRAPH.pixel_offset else STATIC
    return SingleCall(
        nms_function.multiclass_nms(), nms_function.attributes(numerics) | {"max_detections": limit}
    )


@st.composite
def batches(draw):
    """Boxes [N, R, C or 1, 4] in quarter pixels, scores [N, R, C] and counts [N].

    Boxes are of many shapes, or of few corners in any order: then many are alike, inverted or without area.
    """
    batch, regions, classes = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
    shape = (batch, regions, draw(st.sampled_from([1, classes])))
    if draw(st.booleans()):
        corners = draw(hnp.arrays(np.int16, (*shape, 2), elements=st.integers(0, 12)))
        sides = draw(hnp.arrays(np.int16, (*shape, 2), elements=st.integers(-6, 24)))
        boxes = np.concatenate([corners, corners + sides], axis=3)
    else:
        few = st.sampled_from([0, 1, 3, 8, 12])
        boxes = draw(hnp.arrays(np.int16, (*shape, 4), elements=few, fill=st.nothing()))
    boxes = boxes.astype(np.float32) / 4
    scores = draw(hnp.arrays(np.int8, (batch, regions, classes), elements=st.integers(0, len(SCORES) - 1)))
    counts = draw(hnp.arrays(np.int32, batch, elements=st.integers(0, regions)))
    return boxes, SCORES[scores], counts


def assert_detections(obtained, boxes, scores, counts, offset, limit, slack):
    """Every image's detections are the oracle's, and nothing follows them."""
    for image, count in enumerate(counts):
        found_boxes, found_scores, labels, total = (x[image] for x in obtained)

        def oracle(moved, image=image, count=count):
            found = plain.detections_of_image(
                boxes[image, :count],
                scores[image, :count],
                score_threshold=SCORE_THRESHOLD,
                nms_threshold=NMS_THRESHOLD + moved,
                limit=limit,
                offset=offset,
            )
            return dict(zip(("labels", "scores", "boxes"), found, strict=True))

        found = {"labels": labels[:total], "scores": found_scores[:total], "boxes": found_boxes[:total]}
        assert_agrees(found, oracle, [slack], EXACT)
        assert (labels[total:] == -1).all()
        assert not found_scores[total:].any()
        assert not found_boxes[total:].any()


@pytest.mark.parametrize("offset", OFFSETS)
class TestOnTheLattice:
    @settings(DETERMINISTIC, max_examples=120)
    @given(case=batches(), limit=st.sampled_from([1, 3, MAX_DETECTIONS]))
    def test_equals_plain_numpy(self, offset, case, limit):
        assert_detections(nms(offset, limit)(*case), *case, offset, limit, slack=0)

    @settings(DETERMINISTIC, max_examples=40)
    @given(case=batches(), data=st.data())
    def test_an_image_of_a_batch_equals_the_image_alone(self, offset, case, data):
        order = data.draw(st.lists(st.integers(0, len(case[0]) - 1), min_size=1, max_size=4), label="order")
        assert_images_stand_alone(nms(offset), case, order)

    @settings(DETERMINISTIC, max_examples=40)
    @given(case=batches(), rubbish=st.sampled_from([1.0, np.nan, np.inf]))
    def test_regions_past_the_count_do_not_matter(self, offset, case, rubbish):
        boxes, scores, counts = case
        expected = nms(offset)(*case)
        boxes, scores = boxes.copy(), scores.copy()
        for image, count in enumerate(counts):
            boxes[image, count:] = scores[image, count:] = rubbish
        for a, b in zip(nms(offset)(boxes, scores, counts), expected, strict=True):
            np.testing.assert_array_equal(a, b)

    @settings(DETERMINISTIC, max_examples=30)
    @given(case=batches(), data=st.data())
    def test_a_broken_image_leaves_its_neighbours_alone(self, offset, case, data):
        boxes, scores, counts = case
        expected = nms(offset)(*case)
        broken = data.draw(st.integers(0, len(boxes) - 1), label="broken")
        boxes, scores = boxes.copy(), scores.copy()
        boxes[broken] = scores[broken] = np.nan
        obtained = nms(offset)(boxes, scores, counts)
        assert obtained[3][broken] == 0
        for a, b in zip(obtained, expected, strict=True):
            np.testing.assert_array_equal(np.delete(a, broken, 0), np.delete(b, broken, 0))


@pytest.mark.parametrize("offset", OFFSETS)
class TestOffTheLattice:
    @settings(DETERMINISTIC, max_examples=25)
    @given(
        seed=st.integers(0, 2**16),
        batch=st.integers(1, 4),
        regions=st.integers(1, 60),
        classes=st.integers(1, 4),
    )
    def test_equals_plain_numpy(self, offset, seed, batch, regions, classes):
        """Real coordinates, often more candidates than detections wanted."""
        generator = np.random.default_rng(seed)
        corners = generator.uniform(0, 300, (batch, regions, classes, 2))
        sides = generator.gamma(2, 40, (batch, regions, classes, 2)) - 5
        boxes = np.concatenate([corners, corners + sides], axis=3).astype(np.float32)
        scores = generator.uniform(0, 1, (batch, regions, classes)).astype(np.float32)
        counts = generator.integers(0, regions + 1, batch).astype(np.int32)
        case = boxes, scores, counts
        assert_detections(nms(offset)(*case), *case, offset, MAX_DETECTIONS, slack=1e-5)


@pytest.mark.parametrize("offset", OFFSETS)
def test_more_than_100_detections_of_equal_score(offset):
    """The cut falls within equal scores: the first classes stay, and of the last one the first regions."""
    x, y = np.meshgrid(np.arange(8), np.arange(8))
    corners = 10.0 * np.stack([x, y], axis=-1).reshape(1, 64, 1, 2)
    boxes = np.concatenate([corners, corners + 8], axis=3).astype(np.float32)
    scores = np.full((1, 64, 3), 0.5, np.float32)
    scores[0, 63, 2] = 0.75
    found_boxes, found_scores, labels, count = nms(offset)(boxes, scores, np.array([64], np.int32))
    assert count[0] == MAX_DETECTIONS
    assert labels[0].tolist() == [2] + [0] * 64 + [1] * 35
    np.testing.assert_array_equal(found_boxes[0], boxes[0, [63, *range(64), *range(35)], 0])
    assert found_scores[0].tolist() == [0.75] + [0.5] * 99


@pytest.mark.parametrize(("offset", "width"), [(0, 9), (1, 8)])
def test_an_overlap_of_exactly_the_threshold_is_kept(offset, width):
    """Two boxes of 9 pixels, 3 apart: 6 of 12 pixels are common. A hair nearer, and the second one goes."""
    for apart, expected in ((3.0, 2), (2.75, 1)):
        boxes = np.array([[0, 0, width, width], [apart, 0, apart + width, width]], np.float32).reshape(
            1, 2, 1, 4
        )
        count = nms(offset)(boxes, np.full((1, 2, 1), 0.5, np.float32), np.array([2], np.int32))[3]
        assert count[0] == expected


def test_rounding_may_decide_a_near_tie():
    """An overlap of 0.50000002, which float32 rounds to the threshold: seen as a near-tie, and only as one."""
    boxes = np.array([[0, 0, 78.3, 80.7], [26.1, 0, 104.4, 80.7]], np.float32).reshape(1, 2, 1, 4)
    case = boxes, np.full((1, 2, 1), 0.5, np.float32), np.array([2], np.int32)
    assert plain.iou(*boxes[0, :, 0], 0) > NMS_THRESHOLD
    obtained = nms(0)(*case)
    assert obtained[3][0] == 2
    assert_detections(obtained, *case, 0, MAX_DETECTIONS, slack=1e-5)
    with pytest.raises(AssertionError, match="labels: expected"):
        assert_detections(obtained, *case, 0, MAX_DETECTIONS, slack=0)
