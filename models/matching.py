"""Proposals and detections of two runs, paired one to one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]


class Match(NamedTuple):
    """Detections paired one to one.

    Attributes:
        matched: expected rows with a partner.
        expected: rows of the reference.
        obtained: rows of the candidate.
        score: largest difference of scores over the pairs.
        box: largest difference of a coordinate over the pairs, pixels.
        unmatched_expected: scores of the expected rows without a partner.
        unmatched_obtained: scores of the obtained rows without a partner.
    """

    matched: int
    expected: int
    obtained: int
    score: float
    box: float
    unmatched_expected: tuple[float, ...]
    unmatched_obtained: tuple[float, ...]


def pair_proposals(
    reference: _Floats, reference_scores: _Floats, candidate: _Floats, candidate_scores: _Floats
) -> NDArray[np.intp]:
    """Index of each reference proposal's partner in the candidate, one to one; -1 without one.

    Proposals of different levels can coincide, so the nearest box *and* score wins; two proposals with
    nearly equal scores may have changed places, so the order does not count.
    """
    partner = np.full(len(reference), -1, np.intp)
    cost = np.abs(reference[:, None] - candidate[None]).max(axis=2, initial=0.0)
    cost = np.nan_to_num(cost + np.abs(reference_scores[:, None] - candidate_scores[None]), nan=np.inf)
    for _ in range(min(cost.shape)):
        row, column = np.unravel_index(np.argmin(cost), cost.shape)
        if not np.isfinite(cost[row, column]):
            break
        partner[row] = column
        cost[row, :] = cost[:, column] = np.inf
    return partner


def match_detections(obtained: _Floats, expected: _Floats, score: float, box: float) -> Match:
    """Pair rows (label, score, x1, y1, x2, y2) one to one.

    Rows match if labels are equal, scores differ by at most ``score`` and every coordinate by at
    most ``box``; each expected row takes the nearest free candidate.
    """
    free = np.ones(len(obtained), bool)
    matched, worst_score, worst_box = 0, 0.0, 0.0
    alone: list[float] = []
    for row in expected:
        scores = np.abs(obtained[:, 1] - row[1])
        boxes = np.abs(obtained[:, 2:] - row[2:]).max(axis=1)
        fits = free & (obtained[:, 0] == row[0]) & (scores <= score) & (boxes <= box)
        if not fits.any():
            alone.append(float(row[1]))
            continue
        best = int(np.argmin(np.where(fits, boxes, np.inf)))
        free[best] = False
        matched += 1
        worst_score, worst_box = max(worst_score, float(scores[best])), max(worst_box, float(boxes[best]))
    left = tuple(float(row[1]) for row in obtained[free])
    return Match(matched, len(expected), len(obtained), worst_score, worst_box, tuple(alone), left)
