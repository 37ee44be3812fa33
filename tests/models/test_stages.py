"""The comparison must notice whatever a broken engine can do."""

import numpy as np
import pytest

from pssdet.models.architecture import Architecture
from pssdet.models.matching import match_detections, pair_proposals
from pssdet.models.stages import (
    FLOAT32,
    HALF,
    compare,
    compare_detections,
    first_broken,
    map_stages,
    tap_names,
)

ARCH = Architecture(num_classes=3, post_nms_top_n=20)
REGIONS, FOUND = 20, 10
OF_ROWS = ("boxes", "scores", "labels")


def run(seed=0, batch=1):
    """Tensors in the layout of an exported model: 20 regions, 10 detections in 100 slots per image."""
    generator = np.random.default_rng(seed)

    def normal(*shape):
        return generator.normal(size=shape).astype(np.float32)

    tensors = {name: normal(batch, 4, 5, 6) for name in map_stages(ARCH)}
    tensors["proposals"] = 100 * normal(batch, REGIONS, 4)
    tensors["proposal_scores"] = -np.sort(-normal(batch, REGIONS), axis=1)
    tensors["proposal_count"] = np.full(batch, REGIONS, np.int32)
    tensors["roi_features"] = normal(batch * REGIONS, 4, 7, 7)
    tensors["class_probabilities"] = generator.uniform(size=(batch * REGIONS, 4)).astype(np.float32)
    tensors["decoded_boxes"] = 100 * normal(batch * REGIONS, 3, 4)
    tensors["boxes"] = np.zeros((batch, 100, 4), np.float32)
    tensors["boxes"][:, :FOUND] = 100 * normal(batch, FOUND, 4)
    tensors["scores"] = np.zeros((batch, 100), np.float32)
    tensors["scores"][:, :FOUND] = np.linspace(0.9, 0.3, FOUND)
    tensors["labels"] = np.full((batch, 100), -1, np.int32)
    tensors["labels"][:, :FOUND] = generator.integers(0, 3, (batch, FOUND))
    tensors["count"] = np.full(batch, FOUND, np.int32)
    assert set(tap_names(ARCH)) < set(tensors)
    return tensors


def reverse(candidate, name):
    candidate[name][0, :FOUND] = candidate[name][0, :FOUND][::-1].copy()


def failing(change, limits=FLOAT32):
    """Stages that fail when the candidate is the reference with a change."""
    reference, candidate = run(), run()
    change(candidate)
    return [record.stage for record in compare("case", ARCH, reference, candidate, limits) if not record.passed]


def test_equal_runs_agree_at_every_stage():
    records = compare("case", ARCH, run(batch=2), run(batch=2))
    assert all(record.passed and record.difference == 0 and record.share == 1 for record in records)
    assert {record.case for record in records} == {"case, image 1", "case, image 2"}


@pytest.mark.parametrize("name", [*map_stages(ARCH), "roi_features", "class_probabilities", "decoded_boxes"])
def test_a_difference_fails_its_stage_and_no_other(name):
    def change(candidate):
        candidate[name] *= np.float32(1.01)

    assert failing(change) == [name]


@pytest.mark.parametrize(
    "name", ["p2", "proposals", "proposal_scores", "roi_features", "class_probabilities", "boxes"]
)
@pytest.mark.parametrize("limits", [FLOAT32, HALF], ids=["float32", "half"])
def test_one_value_that_is_no_number_fails(name, limits):
    def change(candidate):
        candidate[name][(0,) * candidate[name].ndim] = np.nan

    assert ("detections" if name == "boxes" else name) in failing(change, limits)


def test_other_scores_of_the_same_proposals():
    def sigmoid(candidate):
        candidate["proposal_scores"] = 1 / (1 + np.exp(-candidate["proposal_scores"]))

    assert "proposal_scores" in failing(sigmoid)


def test_all_proposals_moved():
    def move(candidate):
        candidate["proposals"] += 1

    records = compare("case", ARCH, run(), run() | {"proposals": run()["proposals"] + 1})
    (record,) = [record for record in records if record.stage == "proposals"]
    assert not record.passed
    assert record.difference == pytest.approx(1, rel=1e-3)
    assert record.share == 0
    assert failing(move) == ["proposals"]


def test_no_proposals_at_all():
    def remove(candidate):
        candidate["proposal_count"][:] = 0

    assert {"proposals", "roi_features", "class_probabilities"} <= set(failing(remove))


def test_neither_run_has_proposals_or_detections():
    empty = run()
    empty["proposal_count"][:] = empty["count"][:] = 0
    assert all(record.passed for record in compare("case", ARCH, empty, empty))


def test_one_proposal_less():
    def shorten(candidate):
        candidate["proposal_count"][:] = REGIONS - 1

    assert "proposals" in failing(shorten)


def test_order_of_proposals_does_not_count():
    candidate = run()
    for name in ("proposals", "proposal_scores"):
        candidate[name] = candidate[name][:, ::-1]
    for name in ("roi_features", "class_probabilities", "decoded_boxes"):
        candidate[name] = candidate[name][::-1]
    assert all(record.passed for record in compare("case", ARCH, run(), candidate))


class TestDetections:
    @pytest.mark.parametrize("limits", [FLOAT32, HALF], ids=["float32", "half"])
    @pytest.mark.parametrize(
        "change",
        [
            lambda c: c["labels"].__setitem__((0, 0), (c["labels"][0, 0] + 1) % 3),
            lambda c: c["boxes"].__setitem__((0, 0), c["boxes"][0, 0] + 5),
            lambda c: c["scores"].__setitem__((0, 0), 0.95),
            lambda c: c["count"].__setitem__(0, 8),
            lambda c: c["scores"].__setitem__((0, slice(0, FOUND)), c["scores"][0, :FOUND][::-1].copy()),
        ],
        ids=["label", "box", "score", "count", "order"],
    )
    def test_what_must_fail(self, change, limits):
        assert failing(change, limits) == ["detections"]

    @pytest.mark.parametrize(
        ("change", "difference", "limit", "unit"),
        [
            (lambda c: c["scores"].__imul__(np.float32(0.9)), 0.09, FLOAT32.score, "in score"),
            (lambda c: c["boxes"].__iadd__(np.float32(5)), 5, FLOAT32.box, "px"),
            (lambda c: c["boxes"].__setitem__((0, 0, 0), np.nan), np.inf, FLOAT32.box, "px"),
            (lambda c: c["labels"].__iadd__(np.int32(10)), FOUND, 0, "labels"),
            (lambda c: c["count"].__setitem__(0, 8), FOUND - 8, 0, "detections"),
            (lambda c: c["count"].__setitem__(0, 0), FOUND, 0, "detections"),
            (
                lambda c: [c[name].__iadd__(np.float32(0.5)) for name in ("scores", "boxes")],
                0.5,
                FLOAT32.box,
                "px",
            ),
            (lambda c: [reverse(c, name) for name in OF_ROWS], 0.6 / 9, 0, "in score, out of order"),
        ],
        ids=["scores", "boxes", "no number", "labels", "fewer", "none", "scores and boxes", "order"],
    )
    def test_what_differs_is_named(self, change, difference, limit, unit):
        candidate = run()
        change(candidate)
        (record,) = compare_detections("case", run(), candidate)
        assert record.difference == pytest.approx(difference, rel=1e-3)
        assert (record.limit, record.unit, record.passed) == (limit, unit, False)
        assert f"{record.difference:.3g} {unit}, limit" in first_broken([record])

    def test_rising_scores_fail_although_every_row_is_there(self):
        assert failing(lambda candidate: [reverse(candidate, name) for name in OF_ROWS]) == ["detections"]

    @pytest.mark.parametrize(("score", "passes"), [(0.0505, True), (0.06, False)])
    def test_a_row_at_the_score_threshold_may_be_missing(self, score, passes):
        reference, candidate = run(), run()
        reference["scores"][0, FOUND] = score
        reference["labels"][0, FOUND] = 1
        reference["count"][0] = FOUND + 1
        records = compare("case", ARCH, reference, candidate)
        assert records[-1].passed is passes

    def test_two_of_a_full_hundred_may_be_exchanged(self):
        reference = run()
        generator = np.random.default_rng(1)
        reference["boxes"][0] = 1000 * generator.uniform(size=(100, 4))
        reference["scores"][0] = np.linspace(0.9, 0.1, 100)
        reference["labels"][0] = 1
        reference["count"][0] = 100
        for exchanged, passes in ((2, True), (3, False)):
            candidate = {name: value.copy() for name, value in reference.items()}
            candidate["boxes"][0, 100 - exchanged :] += 50
            assert compare("case", ARCH, reference, candidate)[-1].passed is passes


def test_proposals_are_paired_by_box_and_score():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 9, 9]])
    pairs = pair_proposals(boxes, np.array([0.9, 0.1, 0.5]), boxes[[1, 2, 0]], np.array([0.1, 0.5, 0.9]))
    np.testing.assert_array_equal(pairs, [2, 0, 1])


def test_unmatched_detections_are_named_by_their_scores():
    rows = np.array([[1, 0.9, 0, 0, 10, 10], [2, 0.4, 0, 0, 5, 5]])
    match = match_detections(rows[:1], rows, 1e-3, 0.1)
    assert match == (1, 2, 1, 0.0, 0.0, (0.4,), ())
