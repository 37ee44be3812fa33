"""Boxes, proposals and detections of two runs, paired one to one; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]


class Match(NamedTuple):
    """Detections paired one to one: how many, and the largest differences over the pairs.

    Attributes:
        matched: of the ``expected`` rows (reference), those with a partner among the ``obtained`` (candidate).
        box: of a coordinate, pixels.
        unmatched_expected: scores of the rows without a partner; ``unmatched_obtained`` likewise.
    """

    matched: int
    expected: int
    obtained: int
    score: float
    box: float
    unmatched_expected: tuple[float, ...]
    unmatched_obtained: tuple[float, ...]


def detection_rows(outputs: Mapping[str, NDArray[Any]], image: int) -> _Floats:
    """Rows [D, 6] (label, score, x1, y1, x2, y2) of one image of a model's outputs."""
    count = int(outputs["count"][image])
    columns = (outputs["labels"][image, :count, None], outputs["scores"][image, :count, None])
    return np.concatenate([*columns, outputs["boxes"][image, :count]], axis=1)


def box_ious(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    areas: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    crowd: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """IoU of every pair of boxes (x1, y1, x2, y2) [A, 4] and [B, 4], float64 [A, B]; 0 without overlap.

    Args:
        areas: of both, [A] and [B], where known more exactly than from the corners.
        crowd: bool [B]; for a crowd the result is the share of the first box that lies in it, as in COCO.
    """
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    overlap: NDArray[np.float64] = (high - low).clip(0).prod(axis=2)
    own, theirs = areas or (_areas(first), _areas(second))
    union: NDArray[np.float64] = own[:, None] + theirs - overlap
    if crowd is not None:
        union = np.where(crowd, own[:, None], union)
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
    return areas


def greedy_pairs(cost: _Floats, *, row_by_row: bool = False) -> NDArray[np.intp]:
    """Rows and columns paired one to one, the cheapest first; of equal ones the first row and column.

    Args:
        cost: [A, B]; pairs whose cost is not finite are not made.
        row_by_row: each row in turn takes its cheapest free column.

    Returns:
        int [P, 2], row and column of each pair, in the order in which they were made.
    """
    left = np.where(np.isfinite(cost), cost, np.inf)
    pairs: list[tuple[int, int]] = []
    for turn in range(len(left) if left.size else 0):
        row = turn if row_by_row else int(np.argmin(left)) // left.shape[1]
        column = int(np.argmin(left[row]))
        if left[row, column] < np.inf:
            pairs.append((row, column))
            left[row, :] = left[:, column] = np.inf
    return np.array(pairs, np.intp).reshape(-1, 2)


def pair_proposals(
    reference: _Floats, reference_scores: _Floats, candidate: _Floats, candidate_scores: _Floats
) -> NDArray[np.intp]:
    """Index of each reference proposal's partner in the candidate, one to one; -1 without one.

    Proposals of different levels can coincide, so the nearest box *and* score wins; the order does not count.
    """
    cost = np.abs(reference[:, None] - candidate[None]).max(axis=2, initial=0.0)
    cost = np.nan_to_num(cost + np.abs(reference_scores[:, None] - candidate_scores[None]), nan=np.inf)
    pairs = greedy_pairs(cost)
    partner = np.full(len(reference), -1, np.intp)
    partner[pairs[:, 0]] = pairs[:, 1]
    return partner


def match_detections(obtained: _Floats, expected: _Floats, score: float, box: float) -> Match:
    """Pair rows (label, score, x1, y1, x2, y2); each expected row takes the nearest free candidate.

    Partners have equal labels, scores within ``score`` and coordinates within ``box`` pixels of each other.
    """
    scores = np.abs(obtained[:, 1] - expected[:, None, 1])
    boxes = np.abs(obtained[:, 2:] - expected[:, None, 2:]).max(axis=2)
    fits = (obtained[:, 0] == expected[:, None, 0]) & (scores <= score) & (boxes <= box)
    rows, columns = greedy_pairs(np.where(fits, boxes, np.inf), row_by_row=True).T
    return Match(
        matched=len(rows),
        expected=len(expected),
        obtained=len(obtained),
        score=float(scores[rows, columns].max(initial=0.0)),
        box=float(boxes[rows, columns].max(initial=0.0)),
        unmatched_expected=tuple(np.delete(expected[:, 1], rows).astype(float).tolist()),
        unmatched_obtained=tuple(np.delete(obtained[:, 1], columns).astype(float).tolist()),
    )
