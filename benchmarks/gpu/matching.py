"""Detections of two engines in the same pictures, matched one to one; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.models.matching import box_ious, greedy_pairs

#: The issue's goal is about detections above this score, matched at this IoU.
SCORE, IOU = 0.3, 0.9

Tensors = Mapping[str, NDArray[Any]]


def matched(reference: Tensors, candidate: Tensors, score: float = SCORE, iou: float = IOU) -> dict[str, Any]:
    """How many of the reference's detections above a score the candidate has: same label, boxes that overlap so far.

    The candidate's partner may have any score. Pairs are made greedily, the reference's best first.

    Args:
        reference, candidate: a model's outputs for the same N pictures.

    Returns:
        ``detections`` of the reference above the score, ``matched`` of them, ``share`` (1 if there are none), the
        pairs' largest ``score_difference`` and least ``iou``, ``extra`` detections of the candidate above the score
        without a partner, and ``worst``, the index of the picture that lacks most (-1 if none lacks any).
    """
    total = found = extra = 0
    drift, least, worst, most_missing = 0.0, 1.0, -1, 0
    for index in range(len(reference["count"])):
        pairs, expected, left = _pairs(_of(reference, index), _of(candidate, index), score, iou)
        total, found, extra = total + expected, found + len(pairs), extra + left
        drift = max([drift, *(abs(pair[0]) for pair in pairs)])
        least = min([least, *(pair[1] for pair in pairs)])
        if expected - len(pairs) > most_missing:
            worst, most_missing = index, expected - len(pairs)
    share = found / total if total else 1.0
    figures = {"detections": total, "matched": found, "share": share, "extra": extra, "worst": worst}
    return figures | {"score_difference": drift, "iou": least, "above": score, "at_iou": iou}


def _of(outputs: Tensors, index: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    count = int(outputs["count"][index])
    boxes, scores, labels = (outputs[name][index, :count] for name in ("boxes", "scores", "labels"))
    return boxes.astype(np.float64), scores.astype(np.float64), labels


def _pairs(
    reference: tuple[NDArray[Any], ...], candidate: tuple[NDArray[Any], ...], score: float, iou: float
) -> tuple[list[tuple[float, float]], int, int]:
    """Score difference and IoU of each pair, how many there should be, and how many of the candidate's are left."""
    wanted = np.flatnonzero(reference[1] > score)
    overlaps = box_ious(reference[0][wanted], candidate[0])
    partners = (overlaps >= iou) & (reference[2][wanted, None] == candidate[2])
    chosen = greedy_pairs(np.where(partners, -overlaps, np.inf), row_by_row=True)
    pairs = [
        (float(candidate[1][column] - reference[1][wanted[row]]), float(overlaps[row, column]))
        for row, column in chosen
    ]
    left = np.delete(candidate[1], chosen[:, 1])
    return pairs, len(wanted), int((left > score).sum())
