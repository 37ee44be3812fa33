"""Targets and samples of the two heads, against definitions written out."""

import numpy as np
import pytest

from pssdet.training import targets
from pssdet.training.targets import anchor_targets, encode, overlaps, region_targets

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(rng, count, side=100.0):
    corner = rng.uniform(0, side, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, side, (count, 2))], axis=1).astype(np.float32)


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_overlaps_against_the_definition():
    rng = np.random.RandomState(0)
    first, second = random_boxes(rng, 30), random_boxes(rng, 7)
    expected = [[overlap(a, b) for b in second] for a in first]
    assert overlaps(first, second) == pytest.approx(np.array(expected), abs=1e-5)
    assert overlaps(first, second[:0]).shape == (30, 0)


def test_decoding_of_the_detector_undoes_encoding(tiny_model):
    import paddle

    rng = np.random.RandomState(1)
    regions, boxes = random_boxes(rng, 20), random_boxes(rng, 20)
    deltas = np.zeros((20, 8, 4), np.float32)
    deltas[:, 3] = encode(regions, boxes, WEIGHTS)
    decoded = tiny_model._decode(paddle.to_tensor(regions), paddle.to_tensor(deltas.reshape(20, 32)), stage=0)
    assert decoded.numpy()[:, 3] == pytest.approx(boxes, abs=1e-3)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_anchors_are_positive_and_negative_by_definition(count, monkeypatch):
    monkeypatch.setattr(targets, "ANCHOR_SAMPLES", 10_000)
    rng = np.random.RandomState(2)
    anchors, boxes = random_boxes(rng, 400), random_boxes(rng, count)
    table = [[overlap(anchor, box) for box in boxes] for anchor in anchors]
    best_of_box = [max(row[i] for row in table) for i in range(count)]
    positive, negative, matched = set(), set(), {}
    for number, row in enumerate(table):
        keeps = [i for i in range(count) if row[i] == best_of_box[i]]
        if max(row, default=0) >= 0.7 or keeps:
            positive.add(number)
            matched[number] = keeps[-1] if keeps else int(np.argmax(row))
        elif max(row, default=0) < 0.3:
            negative.add(number)
    found = anchor_targets(anchors, boxes, rng)
    assert set(found.rows[: found.positive].tolist()) == positive
    assert set(found.rows[found.positive :].tolist()) == negative
    for number, deltas in zip(found.rows, found.deltas, strict=False):
        expected = encode(anchors[number : number + 1], boxes[matched[int(number)]][None], (1.0, 1.0, 1.0, 1.0))
        assert deltas == pytest.approx(expected[0], abs=1e-5)


def test_anchor_samples_are_limited_and_at_most_half_positive():
    rng = np.random.RandomState(3)
    box = np.array([[10, 10, 60, 60]], np.float32)
    anchors = np.concatenate([np.repeat(box, 300, axis=0), np.repeat(box + 200, 300, axis=0)])
    found = anchor_targets(anchors, box, rng)
    assert len(found.rows) == len(set(found.rows.tolist())) == 256
    assert found.positive == 128
    assert (found.rows[:128] < 300).all()
    assert (found.rows[128:] >= 300).all()


def test_regions_are_labelled_by_definition():
    rng = np.random.RandomState(4)
    proposals, boxes = random_boxes(rng, 60), random_boxes(rng, 3)
    labels = np.array([5, 0, 7])
    found = region_targets(proposals, boxes, labels, 8, WEIGHTS, rng)
    assert len(found.boxes) == 63  # the boxes are regions themselves
    for number, (region, label) in enumerate(zip(found.boxes, found.labels, strict=True)):
        row = [overlap(region, box) for box in boxes]
        assert label == (labels[int(np.argmax(row))] if max(row) >= 0.5 else 8)
        if label < 8:
            expected = encode(region[None], boxes[int(np.argmax(row))][None], WEIGHTS)
            assert found.deltas[number] == pytest.approx(expected[0], abs=1e-4)
    assert len(found.deltas) == (found.labels < 8).sum() >= 3


def test_region_samples_are_limited_and_at_most_a_quarter_positive():
    rng = np.random.RandomState(5)
    box = np.array([[10, 10, 60, 60]], np.float32)
    proposals = np.concatenate([np.repeat(box, 100, axis=0), np.repeat(box + 200, 200, axis=0)])
    found = region_targets(proposals, box, np.array([2]), 8, WEIGHTS, rng)
    assert found.labels.tolist() == [2] * 32 + [8] * 96


def test_picture_without_boxes_gives_background_only():
    rng = np.random.RandomState(6)
    found = region_targets(random_boxes(rng, 10), np.zeros((0, 4), np.float32), np.zeros(0, int), 8, WEIGHTS, rng)
    assert found.labels.tolist() == [8] * 10
    assert found.deltas.shape == (0, 4)
