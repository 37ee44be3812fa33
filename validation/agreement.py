"""Do two engines give the same detections? AP cannot tell: it sees the order of scores, not their values.

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

from pssdet.runtime.detections import Detections
from pssdet.validation.parity_report.schema import Agreement, Histogram

THRESHOLD = 0.3
#: Edges of the histograms; of scores the middle bin is "the same", of both the last bin holds its upper edge.
_STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0)
SCORE_EDGES = (*(-step for step in reversed(_STEPS)), *_STEPS)
IOU_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
#: What a person would call a difference: smaller ones are not shown as pictures.
VISIBLE_SCORE = 0.01
VISIBLE_IOU_LOSS = 0.02

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class _Pairing(NamedTuple):
    """One image's pairs with a score of at least the threshold on either side, and what is left over.

    Attributes:
        pairs: int64 [P, 2], indices into the reference's and the candidate's detections.
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
    """Figures over all images; the two sequences are of the same images, scores and boxes finite.

    A pair's drift counts if either of the two reaches the threshold, a detection as matched or
    unmatched if it does itself. Without pairs, every drift is 0.
    """
    images = [_pair(*both, threshold) for both in zip(reference, candidate, strict=True)]
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


def worst_images(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    count: int,
    threshold: float = THRESHOLD,
) -> list[tuple[int, str]]:
    """The images on which the engines differ most, at most ``count``: index and reason.

    Those with most unmatched detections come first, then those with the largest drift of a score
    plus loss of IoU. Images without a visible difference are left out, so the list may be empty.
    """
    ranked: list[tuple[int, float, int, str]] = []
    for index, (ours, theirs) in enumerate(zip(reference, candidate, strict=True)):
        image = _pair(ours, theirs, threshold)
        unmatched = len(image.missing) + len(image.extra)
        drift = float(np.abs(image.drift).max(initial=0))
        loss = float((1 - image.ious).max(initial=0))
        if unmatched or drift >= VISIBLE_SCORE or loss >= VISIBLE_IOU_LOSS:
            ranked.append((-unmatched, -drift - loss, index, _reason(ours, theirs, image)))
    return [(index, reason) for _, _, index, reason in sorted(ranked)[:count]]


def _pair(reference: Detections, candidate: Detections, threshold: float) -> _Pairing:
    ious = _ious(_closed(reference), _closed(candidate))
    ious[reference.labels[:, None] != candidate.labels] = 0
    ours, theirs = np.nonzero(ious >= IOU_EDGES[0])
    free_ours, free_theirs = np.ones(len(reference), np.bool_), np.ones(len(candidate), np.bool_)
    chosen: list[tuple[int, int]] = []
    for index in np.argsort(-ious[ours, theirs], kind="stable"):
        pair = int(ours[index]), int(theirs[index])
        if free_ours[pair[0]] and free_theirs[pair[1]]:
            free_ours[pair[0]] = free_theirs[pair[1]] = False
            chosen.append(pair)
    pairs = np.array(chosen, np.int64).reshape(-1, 2)
    scores = np.stack((reference.scores[pairs[:, 0]], candidate.scores[pairs[:, 1]]), axis=1).astype(np.float64)
    counts = (scores >= threshold).any(axis=1)
    high = reference.scores >= threshold
    return _Pairing(
        pairs[counts],
        scores[counts],
        ious[pairs[counts, 0], pairs[counts, 1]],
        int(np.count_nonzero(high)),
        np.flatnonzero(high & free_ours),
        np.flatnonzero((candidate.scores >= threshold) & free_theirs),
    )


def _closed(detections: Detections) -> Floats:
    """Boxes whose sizes are their corners' distances: one without a height would not even match itself."""
    boxes = detections.boxes.astype(np.float64)
    boxes[:, 2:] += detections.pixel_offset
    return boxes


def _ious(first: Floats, second: Floats) -> Floats:
    """[A, B] of boxes x1, y1, x2, y2 in pixels."""
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    overlap: Floats = (high - low).clip(0).prod(axis=2)
    union = _areas(first)[:, None] + _areas(second) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
    return areas


def _percentiles(values: Floats) -> dict[str, float]:
    if not len(values):
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    return {"p50": p50, "p99": p99, "max": float(values.max())}


def _histogram(values: Floats, edges: tuple[float, ...]) -> Histogram:
    # Rounding may put a value a hair outside of the outer edges; it must not be lost.
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), bins=edges)
    return Histogram(edges, tuple(counts.tolist()))


def _reason(reference: Detections, candidate: Detections, image: _Pairing) -> str:
    if len(image.missing) or len(image.extra):
        sides = (("reference", reference, image.missing), ("candidate", candidate, image.extra))
        parts = [f"{len(left)} of the {side} ({_best(of, left)})" for side, of, left in sides if len(left)]
        return f"detections without a partner: {' and '.join(parts)}"
    by_score, by_box = int(np.abs(image.drift).argmax()), int(image.ious.argmin())
    name, (before, after) = reference.name(image.pairs[by_score, 0]), image.scores[by_score]
    box = reference.name(image.pairs[by_box, 0])
    return f"{name} scores {after:.3f} instead of {before:.3f}; least overlap: {box}, IoU {image.ious[by_box]:.3f}"


def _best(detections: Detections, indices: Indices) -> str:
    first = max(indices, key=lambda index: detections.scores[index])
    more = ", ..." if len(indices) > 1 else ""
    return f"{detections.name(first)} {detections.scores[first]:.2f}{more}"
