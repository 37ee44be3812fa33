"""When two detections of a run and of the original count as one: a tie that NMS could settle either way."""

import numpy as np
import pytest
from reference import with_ties_settled

KEPT, OTHER = (0.0, 0.0, 100.0, 100.0), (0.0, 0.0, 100.0, 80.0)
EXPECTED = np.array([[1, 0.5, *KEPT], [2, 0.9, 200, 200, 300, 300]], np.float32)


def settled(*, score=0.5, label=1, box=OTHER, computed=KEPT):
    rows = np.array([[2, 0.9, 200, 200, 300, 300], [label, score, *box]], np.float32)
    probabilities = np.zeros((3, 4), np.float32)
    probabilities[1, 1] = 0.5
    boxes = np.zeros((3, 1, 4), np.float32)
    boxes[1, 0] = computed
    return rows, with_ties_settled(rows, EXPECTED, probabilities, boxes)


def test_a_tie_is_settled_as_the_original_did():
    rows, found = settled()
    np.testing.assert_array_equal(found, [rows[0], EXPECTED[0]])


@pytest.mark.parametrize(
    "changed",
    [
        {"score": 0.501},
        {"label": 2},
        {"box": (0.0, 0.0, 100.0, 40.0)},  # NMS would have kept both
        {"computed": (0.0, 0.0, 100.0, 90.0)},  # the original's box is none of this run's
    ],
    ids=str,
)
def test_anything_else_is_none(changed):
    rows, found = settled(**changed)
    np.testing.assert_array_equal(found, rows)
