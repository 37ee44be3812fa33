"""Targets and samples of the two heads, against definitions written out."""

import numpy as np
import pytest

from pssdet.training import trainable_detector
from pssdet.training.trainable_detector import anchor_targets, encode, overlaps, region_targets, sample_regions

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def random_boxes(rng, count, side=100.0):
    corner = rng.uniform(0, side, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, side, (count, 2))], axis=1).astype(np.float32)


def area(box, offset=0):
    return max(box[2] - box[0] + offset, 0) * max(box[3] - box[1] + offset, 0)


def overlap(a, b, offset=0):
    shared = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])], offset)
    return shared / (area(a, offset) + area(b, offset) - shared) if shared else 0.0


@pytest.mark.parametrize("offset", [0, 1])
def test_overlaps_against_the_definition(offset):
    rng = np.random.RandomState(0)
    first, second = random_boxes(rng, 30), random_boxes(rng, 7)
    first[0] = first[0, [2, 3, 0, 1]]  # what a stage of a cascade may decode
    expected = [[overlap(a, b, offset) for b in second] for a in first]
    assert overlaps(first, second, offset) == pytest.approx(np.array(expected), abs=1e-5)
    assert overlaps(first, second[:0], offset).shape == (30, 0)


def test_decoding_of_the_detector_undoes_encoding(tiny_model):
    import paddle

    rng = np.random.RandomState(1)
    regions, boxes = random_boxes(rng, 20), random_boxes(rng, 20)
    deltas = np.zeros((20, 8, 4), np.float32)
    deltas[:, 3] = encode(regions, boxes, WEIGHTS, 0)
    decoded = tiny_model._decode(paddle.to_tensor(regions), paddle.to_tensor(deltas.reshape(20, 32)), head=0)
    assert decoded.numpy()[:, 3] == pytest.approx(boxes, abs=1e-3)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_decoding_of_every_cascade_stage_undoes_encoding(tiny_cascade, stage):
    import paddle

    rng = np.random.RandomState(1)
    regions, boxes = random_boxes(rng, 20), random_boxes(rng, 20)
    deltas = np.zeros((20, 8), np.float32)
    deltas[:, 4:] = encode(regions, boxes, tiny_cascade.arch.reg_weights[stage], 1)
    decoded = tiny_cascade._decode(paddle.to_tensor(regions), paddle.to_tensor(deltas), stage)
    assert decoded.numpy()[:, 0] == pytest.approx(boxes, abs=1e-3)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_anchors_are_positive_and_negative_by_definition(count, monkeypatch):
    monkeypatch.setattr(trainable_detector, "ANCHOR_SAMPLES", 10_000)
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
    found = anchor_targets(anchors, boxes, 0, rng)
    assert set(found.rows[: found.positive].tolist()) == positive
    assert set(found.rows[found.positive :].tolist()) == negative
    for number, deltas in zip(found.rows, found.deltas, strict=False):
        expected = encode(
            anchors[number : number + 1], boxes[matched[int(number)]][None], (1.0, 1.0, 1.0, 1.0), 0
        )
        assert deltas == pytest.approx(expected[0], abs=1e-5)


def test_anchor_samples_are_limited_and_at_most_half_positive():
    rng = np.random.RandomState(3)
    box = np.array([[10, 10, 60, 60]], np.float32)
    anchors = np.concatenate([np.repeat(box, 300, axis=0), np.repeat(box + 200, 300, axis=0)])
    found = anchor_targets(anchors, box, 0, rng)
    assert len(found.rows) == len(set(found.rows.tolist())) == 256
    assert found.positive == 128
    assert (found.rows[:128] < 300).all()
    assert (found.rows[128:] >= 300).all()


@pytest.mark.parametrize(("least", "offset"), [(0.5, 0), (0.7, 1)])
def test_regions_are_labelled_by_definition(least, offset):
    rng = np.random.RandomState(4)
    boxes = random_boxes(rng, 3)
    regions = np.concatenate([random_boxes(rng, 60), boxes, boxes + 2])
    labels = np.array([5, 0, 7])
    found = region_targets(regions, boxes, labels, least, WEIGHTS, offset)
    expected = {}
    for number, region in enumerate(regions):
        row = [overlap(region, box, offset) for box in boxes]
        if max(row) >= least:
            expected[number] = int(np.argmax(row))
    assert found.rows.tolist() == list(expected)
    assert len(expected) >= 5
    assert found.labels.tolist() == [labels[matched] for matched in expected.values()]
    wanted = [encode(regions[[row]], boxes[[matched]], WEIGHTS, offset)[0] for row, matched in expected.items()]
    assert found.deltas == pytest.approx(np.array(wanted), abs=1e-4)


def test_sampled_regions_are_proposals_and_the_boxes_themselves():
    rng = np.random.RandomState(4)
    proposals, boxes = random_boxes(rng, 60), random_boxes(rng, 3)
    found = sample_regions(proposals, boxes, 0, rng)
    assert sorted(found.tolist()) == sorted(np.concatenate([proposals, boxes]).tolist())


def test_region_samples_are_limited_and_at_most_a_quarter_positive():
    rng = np.random.RandomState(5)
    box = np.array([[10, 10, 60, 60]], np.float32)
    proposals = np.concatenate([np.repeat(box, 100, axis=0), np.repeat(box + 200, 200, axis=0)])
    found = sample_regions(proposals, box, 0, rng)
    assert found.tolist() == np.repeat(box, 32, axis=0).tolist() + np.repeat(box + 200, 96, axis=0).tolist()


def test_picture_without_boxes_gives_background_only():
    rng = np.random.RandomState(6)
    none = np.zeros((0, 4), np.float32)
    regions = sample_regions(random_boxes(rng, 10), none, 0, rng)
    assert len(regions) == 10
    found = region_targets(regions, none, np.zeros(0, int), 0.5, WEIGHTS, 0)
    assert found.rows.shape == found.labels.shape == (0,)
    assert found.deltas.shape == (0, 4)
