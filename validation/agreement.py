"""How well the detections of two engines agree. AP cannot tell: it depends on the order of scores, not on their values.

Detections of one image and class are partners if their boxes overlap with an IoU of at least 0.5.
Pairs are made greedily, the highest IoU first (of equal ones the reference's better-scored detection
first), among all detections that the engines give. Only then the threshold applies: a detection at
0.301 whose partner is at 0.299 has drifted, it is not lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.models.matching import box_ious, greedy_pairs
from pssdet.runtime.detections import Detections
from pssdet.validation.parity_report.schema import Agreement, Histogram

THRESHOLD = 0.3
#: Edges of the histograms; of scores the middle bin is "the same", of both the last bin holds its upper edge.
_STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0)
SCORE_EDGES = (*(-step for step in reversed(_STEPS)), *_STEPS)
IOU_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class DetectionPairs(NamedTuple):
    """One image's pairs in which either score reaches the threshold, and the detections without a partner.

    Attributes:
        pairs: int [P, 2], indices into the reference's and the candidate's detections.
        scores: [P, 2] of the two.
        ious: [P].
        counted: reference detections at or above the threshold.
        missing: of those, the indices [M] without a partner.
        extra: the candidate's indices [E] at or above the threshold without a partner.
    """

    pairs: Indices
    scores: Floats
    ious: Floats
    counted: int
    missing: Indices
    extra: Indices

    @property
    def drift(self) -> Floats:
        """Candidate score - reference score, [P]."""
        return self.scores[:, 1] - self.scores[:, 0]


def agreement(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    threshold: float = THRESHOLD,
) -> Agreement:
    """Compare two engines' detections of the same images; all scores and boxes are finite.

    A pair's drift counts if either of the two reaches the threshold, a detection as matched or
    unmatched if it does itself. Without pairs, every drift is 0.
    """
    images = [pair_detections(*both, threshold) for both in zip(reference, candidate, strict=True)]
    shift = np.concatenate([np.zeros(0), *(image.drift for image in images)])
    ious = np.concatenate([np.zeros(0), *(image.ious for image in images)])
    counted = sum(image.counted for image in images)
    missing = sum(len(image.missing) for image in images)
    return Agreement(
        threshold=threshold,
        matched_share=(counted - missing) / counted if counted else 1.0,
        unmatched_reference=missing,
        unmatched_candidate=sum(len(image.extra) for image in images),
        score_drift=_percentiles(np.abs(shift)),
        score_shift=float(shift.mean()) if len(shift) else 0.0,
        iou_loss=_percentiles(1 - ious),
        score_histogram=_histogram(shift, SCORE_EDGES),
        iou_histogram=_histogram(ious, IOU_EDGES),
    )


def pair_detections(reference: Detections, candidate: Detections, threshold: float = THRESHOLD) -> DetectionPairs:
    """Pair two engines' detections of one image, whatever their scores, and then apply the threshold."""
    ious = box_ious(_closed(reference), _closed(candidate))
    partners = (ious >= IOU_EDGES[0]) & (reference.labels[:, None] == candidate.labels)
    pairs = greedy_pairs(np.where(partners, -ious, np.inf))
    scores = np.stack((reference.scores[pairs[:, 0]], candidate.scores[pairs[:, 1]]), axis=1).astype(np.float64)
    counts = (scores >= threshold).any(axis=1)
    high = np.flatnonzero(reference.scores >= threshold)
    return DetectionPairs(
        pairs[counts],
        scores[counts],
        ious[pairs[counts, 0], pairs[counts, 1]],
        len(high),
        np.setdiff1d(high, pairs[:, 0]),
        np.setdiff1d(np.flatnonzero(candidate.scores >= threshold), pairs[:, 1]),
    )


def _closed(detections: Detections) -> Floats:
    """Boxes as float64, pixel offset added to x2 and y2; without it a box of one row of pixels would have no area."""
    boxes = detections.boxes.astype(np.float64)
    boxes[:, 2:] += detections.pixel_offset
    return boxes


def _percentiles(values: Floats) -> dict[str, float]:
    if not len(values):
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    return {"p50": p50, "p99": p99, "max": float(values.max())}


def _histogram(values: Floats, edges: tuple[float, ...]) -> Histogram:
    # Rounding may put a value a hair outside of the outer edges; it must not be lost.
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), bins=edges)
    return Histogram(edges, tuple(counts.tolist()))
