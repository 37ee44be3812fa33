"""Each ONNX function alone, in ONNX Runtime, against plain numpy."""

import numpy as np
import plain
import plain_roi
import pytest
from single_call import SingleCall

from pssdet.export.functions import nms as nms_function
from pssdet.export.functions import proposals as proposals_function
from pssdet.export.functions import roi_align as roi_align_function
from pssdet.models.anchors import base_anchors
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH, STATIC

SMALL = Architecture(num_classes=3, anchor_sizes=(16.0, 32.0), pre_nms_top_n=40, post_nms_top_n=12)


FEW = Architecture(num_classes=3, anchor_sizes=(16.0, 32.0), pre_nms_top_n=4, post_nms_top_n=12)


def random_maps(generator, batch, heights, widths):
    per_cell = len(SMALL.anchor_ratios)
    scores = [
        generator.normal(0, 2, (batch, per_cell, h, w)).astype(np.float32)
        for h, w in zip(heights, widths, strict=True)
    ]
    deltas = [
        generator.normal(0, 0.3, (batch, 4 * per_cell, h, w)).astype(np.float32)
        for h, w in zip(heights, widths, strict=True)
    ]
    return scores, deltas


def generate(scores, deltas, sizes, arch=SMALL, numerics=DYGRAPH):
    function = proposals_function.generate_proposals(arch)
    call = SingleCall(function, proposals_function.attributes(arch, numerics))
    return call(*scores, *deltas, np.asarray(sizes, np.float32))


def expected_proposals(scores, deltas, size, image):
    return plain.proposals_of_image(
        [x[image] for x in scores],
        [x[image] for x in deltas],
        size,
        base_anchors(SMALL, DYGRAPH),
        SMALL.strides,
        pre=SMALL.pre_nms_top_n,
        post=SMALL.post_nms_top_n,
        threshold=0.7,
        min_size=1.0,
        offset=0,
    )


class TestGenerateProposals:
    @pytest.mark.parametrize("seed", range(6))
    def test_equals_plain_numpy_for_every_image(self, seed):
        generator = np.random.default_rng(seed)
        scores, deltas = random_maps(generator, 3, (8, 4), (6, 3))
        sizes = [(32, 24), (20, 24), (31, 9)]
        boxes, found, count = generate(scores, deltas, sizes)
        for image, size in enumerate(sizes):
            expected_boxes, expected_scores = expected_proposals(scores, deltas, size, image)
            n = len(expected_boxes)
            assert count[image] == n
            np.testing.assert_allclose(boxes[image, :n], expected_boxes, atol=1e-4)
            np.testing.assert_array_equal(found[image, :n], expected_scores)
            assert (boxes[image, n:] == 0).all()
            assert (found[image, n:] == -np.inf).all()

    def test_fewer_anchors_than_candidates_wanted(self):
        scores, deltas = random_maps(np.random.default_rng(0), 1, (1, 1), (1, 1))
        boxes, _, count = generate(scores, deltas, [(4, 4)])
        expected, _ = expected_proposals(scores, deltas, (4, 4), 0)
        assert count[0] == len(expected) <= 6
        np.testing.assert_allclose(boxes[0, : count[0]], expected, atol=1e-4)

    def test_fewer_candidates_in_all_than_proposals_wanted(self):
        scores, deltas = random_maps(np.random.default_rng(0), 1, (8, 4), (8, 4))
        boxes, found, count = generate(scores, deltas, [(32, 32)], FEW)
        assert boxes.shape == (1, 12, 4)
        assert 2 <= count[0] <= 8
        assert (found[0, count[0] :] == -np.inf).all()
        assert not boxes[0, count[0] :].any()

    def test_nothing_large_enough(self):
        scores, deltas = random_maps(np.random.default_rng(0), 1, (4, 2), (4, 2))
        for delta in deltas:
            delta[:] = -10  # every box shrinks to almost nothing
        _, _, count = generate(scores, deltas, [(16, 16)])
        assert count[0] == 0

    def test_ties_go_to_the_earlier_anchor(self):
        scores, deltas = random_maps(np.random.default_rng(3), 1, (4, 2), (4, 2))
        scores = [np.zeros_like(x) for x in scores]
        boxes, _, count = generate(scores, deltas, [(16, 16)])
        expected, _ = expected_proposals(scores, deltas, (16, 16), 0)
        assert count[0] == len(expected)
        np.testing.assert_allclose(boxes[0, : count[0]], expected, atol=1e-4)

    def test_a_broken_image_leaves_its_neighbours_alone(self):
        scores, deltas = random_maps(np.random.default_rng(4), 2, (8, 4), (8, 4))
        alone = generate(scores, deltas, [(32, 32), (32, 32)])
        for x in (*scores, *deltas):
            x[0] = np.nan
        together = generate(scores, deltas, [(32, 32), (32, 32)])
        assert together[2][0] == 0
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a[1], b[1])


def align(maps, rois, strides, numerics=DYGRAPH):
    attributes = roi_align_function.attributes(SMALL, numerics) | {"strides": strides}
    return SingleCall(roi_align_function.multilevel_roi_align(), attributes)(*maps, rois)[0]


class TestMultilevelRoiAlign:
    def test_equals_plain_numpy(self):
        generator = np.random.default_rng(0)
        sizes = [(48, 64), (24, 32), (12, 16), (6, 8)]
        maps = [generator.normal(0, 1, (2, 3, h, w)).astype(np.float32) for h, w in sizes]
        corner = generator.uniform(0, 100, (2, 6, 2))
        side = np.array([[0.0, 0.0], [3, 5], [60, 50], [112, 112], [190, 130], [256, 192]])
        rois = np.concatenate([corner, corner + side], axis=2).astype(np.float32)
        rois[:, 5] = [0, 0, 256, 230]  # reaches beyond the maps
        features = align(maps, rois, [4, 8, 16, 32])
        assert features.shape == (12, 3, 7, 7)
        levels = set()
        for index, box in enumerate(rois.reshape(-1, 4)):
            level = plain_roi.level_of(box) - 2
            levels.add(level)
            expected = plain_roi.roi_align(maps[level][index // 6].astype(np.float64), box, 4 << level)
            np.testing.assert_allclose(features[index], expected, atol=1e-4)
        assert levels == {0, 1, 2}

    @pytest.mark.parametrize("side", [55, 56, 111, 112, 223, 223.9996, 223.9999, 224, 447, 448, 2000])
    def test_level_at_its_bounds(self, side):
        """A millionth of the canonical size below a bound counts as on it."""
        maps = [np.full((1, 1, 4, 4), level, np.float32) for level in range(4)]
        features = align(maps, np.array([[[0, 0, side, side]]], np.float32), [512] * 4)
        assert features.max() == pytest.approx(plain_roi.level_of([0, 0, side, side]) - 2)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("numerics", [DYGRAPH, STATIC], ids=["dygraph", "static"])
    def test_a_region_that_is_not_finite_leaves_the_others_alone(self, numerics, value):
        """A cascade's features may give one; ONNX Runtime's RoiAlign would refuse the whole batch."""
        maps = [np.random.default_rng(0).normal(0, 1, (2, 1, 8, 8)).astype(np.float32) for _ in range(4)]
        rois = np.array([[[0, 0, 9, 9], [4, 4, 20, 30]], [[2, 2, 9, 7], [0, 0, 500, 500]]], np.float32)
        expected = align(maps, rois, [4, 8, 16, 32], numerics)
        rois[0, 1] = value
        obtained = align(maps, rois, [4, 8, 16, 32], numerics)
        np.testing.assert_array_equal(obtained[[0, 2, 3]], expected[[0, 2, 3]])

    @pytest.mark.parametrize("box", [[400, 400, 20, 20], [0, 0, -0.5, 30_000], [0, 0, 30_000, -0.5]])
    def test_an_inverted_region_is_on_the_first_level(self, box):
        """It has no area in Paddle, however far apart its sides are."""
        maps = [np.full((1, 1, 4, 4), 1 + level, np.float32) for level in range(4)]
        features = align(maps, np.array([[box]], np.float32), [2**14] * 4, STATIC)
        assert features.max() == 1


def suppress(boxes, scores, counts, numerics=DYGRAPH):
    attributes = nms_function.attributes(numerics) | {"max_detections": 10}
    return SingleCall(nms_function.multiclass_nms(), attributes)(boxes, scores, np.asarray(counts, np.int32))


def random_boxes(generator, batch, regions, classes):
    corner = generator.uniform(0, 40, (batch, regions, classes, 2))
    side = generator.uniform(5, 40, (batch, regions, classes, 2))
    return np.concatenate([corner, corner + side], axis=3).astype(np.float32)


class TestMulticlassNms:
    @pytest.mark.parametrize("levels", [None, 4], ids=["distinct scores", "many equal scores"])
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_plain_numpy(self, seed, levels):
        generator = np.random.default_rng(seed)
        boxes = random_boxes(generator, 2, 15, 3)
        scores = generator.uniform(0, 0.6, (2, 15, 3)).astype(np.float32)
        if levels:
            scores = np.round(scores * levels) / np.float32(levels)
        counts = [15, 9]
        obtained = suppress(boxes, scores, counts)
        for image, count in enumerate(counts):
            expected_labels, expected_scores, expected_boxes = plain.detections_of_image(
                boxes[image, :count],
                scores[image, :count],
                score_threshold=0.05,
                nms_threshold=0.5,
                limit=10,
                offset=0,
            )
            n = len(expected_labels)
            found_boxes, found_scores, labels, total = (x[image] for x in obtained)
            assert total == n
            np.testing.assert_array_equal(labels[:n], expected_labels)
            np.testing.assert_array_equal(found_scores[:n], expected_scores)
            np.testing.assert_array_equal(found_boxes[:n], expected_boxes)
            assert (labels[n:] == -1).all()
            assert not found_boxes[n:].any()
            assert not found_scores[n:].any()

    def test_fewer_boxes_than_detections_wanted(self):
        boxes = random_boxes(np.random.default_rng(0), 2, 4, 1)
        found_boxes, _, labels, count = suppress(boxes, np.full((2, 4, 1), 0.9, np.float32), [4, 1])
        assert found_boxes.shape == (2, 10, 4)
        assert count[1] == 1
        assert (labels[1] == [0, *[-1] * 9]).all()

    def test_nothing_found(self):
        boxes = random_boxes(np.random.default_rng(0), 1, 15, 3)
        _, _, labels, count = suppress(boxes, np.full((1, 15, 3), 0.05, np.float32), [15])
        assert count[0] == 0
        assert (labels == -1).all()

    def test_a_score_at_the_threshold_is_dropped_and_one_above_is_kept(self):
        boxes = random_boxes(np.random.default_rng(0), 1, 15, 3)
        scores = np.full((1, 15, 3), 0.05, np.float32)
        scores[0, 3, 1] = np.nextafter(np.float32(0.05), np.float32(1))
        _, _, labels, count = suppress(boxes, scores, [15])
        assert count[0] == 1
        assert labels[0, 0] == 1
