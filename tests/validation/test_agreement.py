"""Detections matched one to one, and the images where they differ most."""

from dataclasses import replace

import numpy as np
import pytest

from pssdet.runtime.detections import Detections
from pssdet.validation.agreement import agreement, rank_by_difference

NAMES = ("circle", "star", "ring")
NONE = {"p50": 0.0, "p99": 0.0, "max": 0.0}


def detections(*rows, pixel_offset=0):
    """Rows of label, score, x1, y1, x2, y2; best first."""
    table = np.float32(sorted(rows, key=lambda row: -row[1])).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(np.int32), NAMES, 300, 300, pixel_offset)


def random_images(seed, images=30):
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        count = draw.integers(0, 8)
        corners = draw.uniform(0, 200, (count, 2))
        boxes = np.hstack((corners, corners + draw.uniform(20, 90, (count, 2))))
        rows = np.hstack((draw.integers(0, 3, (count, 1)), draw.uniform(0.05, 1, (count, 1)), boxes))
        found.append(detections(*rows.tolist()))
    return found


def moved(images, seed, scale=0.06):
    draw = np.random.default_rng(seed)
    return [
        replace(
            each,
            boxes=each.boxes + np.float32(draw.normal(0, scale * 50, each.boxes.shape)),
            scores=np.float32((each.scores + draw.normal(0, 0.05, len(each))).clip(0.01, 1)),
        )
        for each in images
    ]


def test_itself():
    images = random_images(0)
    found = agreement(images, images)
    assert (found.matched_share, found.unmatched_reference, found.unmatched_candidate) == (1, 0, 0)
    assert found.score_drift == found.iou_loss == NONE
    counted = sum(int((each.scores >= 0.3).sum()) for each in images)
    assert sum(found.score_histogram.counts) == sum(found.iou_histogram.counts) == counted > 50
    assert found.score_histogram.counts[len(found.score_histogram.counts) // 2] == counted
    assert found.iou_histogram.counts[-1] == counted
    assert rank_by_difference(images, images, 5) == []


def test_a_box_of_one_row_of_pixels_matches_itself():
    """Detectors that count pixels, not edges, give such boxes at the picture's edge."""
    flat = [detections((0, 0.9, 10, 0, 60, 0), (1, 0.8, 299, 5, 299, 90), pixel_offset=1)]
    found = agreement(flat, flat)
    assert (found.matched_share, found.iou_loss) == (1, NONE)
    assert rank_by_difference(flat, flat, 5) == []


def test_sizes_count_the_pixel_offset():
    for offset, loss in ((1, 0.2), (0, 2 / 9)):
        first, second = ([detections((0, 0.9, 0, 0, 9, y2), pixel_offset=offset)] for y2 in (9, 7))
        assert agreement(first, second).iou_loss["max"] == pytest.approx(loss)


def test_scaled_scores_show_as_drift():
    images = random_images(1)
    scaled = [replace(each, scores=each.scores * np.float32(0.98)) for each in images]
    found = agreement(images, scaled)
    assert (found.matched_share, found.unmatched_reference, found.unmatched_candidate) == (1, 0, 0)
    assert 0.01 < found.score_drift["p50"] < found.score_drift["max"] <= 0.0201
    assert -0.02 < found.score_shift < -0.01
    assert found.iou_loss == NONE


def test_nothing_at_all():
    nothing = [detections(), detections()]
    found = agreement(nothing, nothing)
    assert (found.matched_share, found.score_drift, found.score_shift, found.iou_loss) == (1, NONE, 0, NONE)
    assert agreement([], []) == found
    images = random_images(2)
    gone = agreement(images, [detections()] * len(images))
    assert gone.matched_share == 0
    assert gone.unmatched_reference == sum(int((each.scores >= 0.3).sum()) for each in images)


def test_class_overlap_and_threshold():
    reference = detections((0, 0.9, 0, 0, 10, 10), (1, 0.8, 0, 0, 10, 10), (2, 0.31, 50, 50, 60, 60))
    candidate = detections((0, 0.85, 0, 0, 10, 8), (2, 0.8, 0, 0, 10, 10), (2, 0.29, 50, 50, 60, 60))
    found = agreement([reference], [candidate])
    assert (found.unmatched_reference, found.unmatched_candidate) == (1, 1)  # the star became a ring
    assert found.matched_share == pytest.approx(2 / 3)
    assert found.score_drift["max"] == pytest.approx(0.05, abs=1e-6)
    assert found.score_shift == pytest.approx(-0.035, abs=1e-6)
    assert found.iou_loss["max"] == pytest.approx(0.2)
    strict = agreement([reference], [candidate], threshold=0.84)
    assert (strict.matched_share, strict.unmatched_candidate) == (1, 0)


def test_the_highest_overlap_goes_first():
    reference = detections((0, 0.9, 0, 0, 10, 10), (0, 0.5, 0, 0, 10, 7))
    candidate = detections((0, 0.9, 0, 0, 10, 7.5))
    found = agreement([reference], [candidate])
    assert found.unmatched_reference == 1
    assert found.score_drift["max"] == pytest.approx(0.4)


def by_brute_force(reference, candidate, threshold):
    """Repeat: of all pairs of free detections, join the one with the highest IoU."""
    pairs, lost, extra = [], 0, 0
    for ours, theirs in zip(reference, candidate, strict=True):
        free, others = list(range(len(ours))), list(range(len(theirs)))
        while True:
            options = [
                (iou(ours.boxes[i], theirs.boxes[j]), -i, -j)
                for i in free
                for j in others
                if ours.labels[i] == theirs.labels[j]
            ]
            best = max(options, default=(0, 0, 0))
            if best[0] < 0.5:
                break
            i, j = -best[1], -best[2]
            free.remove(i)
            others.remove(j)
            if max(ours.scores[i], theirs.scores[j]) >= threshold:
                pairs.append((float(theirs.scores[j]) - float(ours.scores[i]), best[0]))
        lost += sum(ours.scores[i] >= threshold for i in free)
        extra += sum(theirs.scores[j] >= threshold for j in others)
    return np.array(pairs), lost, extra


def iou(a, b):
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.tolist(), b.tolist()
    overlap = max(0, min(ax2, bx2) - max(ax1, bx1)) * max(0, min(ay2, by2) - max(ay1, by1))
    return overlap / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - overlap)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_brute_force(seed):
    reference = random_images(seed)
    candidate = moved(reference, seed + 10)
    pairs, lost, extra = by_brute_force(reference, candidate, 0.3)
    found = agreement(reference, candidate)
    assert (found.unmatched_reference, found.unmatched_candidate) == (lost, extra)
    assert lost + extra > 0
    assert found.score_shift == pytest.approx(pairs[:, 0].mean(), abs=1e-12)
    assert found.score_drift["p99"] == pytest.approx(np.percentile(abs(pairs[:, 0]), 99), abs=1e-12)
    assert found.iou_loss["p50"] == pytest.approx(np.median(1 - pairs[:, 1]), abs=1e-12)
    assert found.iou_histogram.counts == tuple(np.histogram(pairs[:, 1], found.iou_histogram.edges)[0])
    assert agreement(reference, candidate) == found


def test_worst_images_first():
    circle = (0, 0.9, 0, 0, 100, 100)
    star = (1, 0.8, 150, 150, 250, 250)
    reference = [detections(circle, star)] * 6
    candidate = [
        detections(circle, star),
        detections(circle, (1, 0.7, 150, 150, 250, 250)),
        detections((0, 0.9, 0, 0, 100, 60), star),
        detections(circle),
        detections((2, 0.9, 0, 0, 100, 100), star),
        detections(circle, (1, 0.7999, 150, 150, 250, 250.1), (2, 0.1, 0, 0, 9, 9)),
    ]
    worst = rank_by_difference(reference, candidate, 10)
    assert [index for index, _ in worst] == [4, 3, 2, 1]
    assert "1 of the reference (circle 0.90) and 1 of the candidate (ring 0.90)" in worst[0][1]
    assert "1 of the reference (star 0.80)" in worst[1][1]
    assert "circle, IoU 0.600" in worst[2][1]
    assert "star scores 0.700 instead of 0.800" in worst[3][1]
    assert rank_by_difference(reference, candidate, 2) == worst[:2]
