"""How well the detections of two engines agree, and the images on which they differ most.

AP depends on the order of scores, not on their values. Detections of one image and class are
partners if their boxes overlap with an IoU of at least 0.5. Pairs are made greedily, the highest IoU
first (of equal ones the reference's better-scored detection first), among all detections. Only then
the threshold applies: a detection at 0.301 whose partner is at 0.299 has drifted, it is not lost.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.images import encode_jpeg, load
from pssdet.models.matching import box_ious, greedy_pairs
from pssdet.opencv import cv2
from pssdet.runtime.detections import Detections
from pssdet.runtime.results import draw
from pssdet.validation.ground_truth import Image
from pssdet.validation.parity_report.schema import Agreement, Disagreement, Histogram

THRESHOLD = 0.3
#: Edges of the histograms; the last bin holds its upper edge, too.
_STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0)
SCORE_EDGES = (*(-step for step in reversed(_STEPS)), *_STEPS)
IOU_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class DetectionPairs(NamedTuple):
    """One image's pairs in which either score reaches the threshold, and what is without a partner.

    Attributes:
        pairs: int [P, 2], indices into the reference's and the candidate's detections.
        scores: [P, 2]; ``ious`` is [P].
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

    A drift counts if either score reaches the threshold, a detection as
    matched or unmatched if its own does. Without pairs, every drift is 0.
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


def unmatched_share(found: Agreement) -> float:
    """Share of the detections above the threshold in either engine that have no partner."""
    unmatched = found.unmatched_reference + found.unmatched_candidate
    return unmatched / max(unmatched + sum(found.score_histogram.counts), 1)


def pair_detections(
    reference: Detections, candidate: Detections, threshold: float = THRESHOLD
) -> DetectionPairs:
    """Pair two engines' detections of one image, whatever their scores; then apply the threshold."""
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
    """Boxes with pixel offset added to x2, y2; without it a box of one row of pixels would have no area."""
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


#: Differences that a person would notice; images with smaller ones are not shown.
VISIBLE_SCORE = 0.01
VISIBLE_IOU_LOSS = 0.02

_WIDTH = 480
_GAP = 8
_JPEG_QUALITY = 85


def rank_by_difference(
    reference: Sequence[Detections], candidate: Sequence[Detections], count: int
) -> list[tuple[int, str]]:
    """The images on which the engines differ most, at most ``count``: index and reason.

    Most unmatched detections come first, then the largest drift of a score
    plus loss of IoU. Images without a visible difference are left out.
    """
    ranked: list[tuple[int, float, int, str]] = []
    for index, (ours, theirs) in enumerate(zip(reference, candidate, strict=True)):
        image = pair_detections(ours, theirs)
        unmatched = len(image.missing) + len(image.extra)
        drift = float(np.abs(image.drift).max(initial=0))
        loss = float((1 - image.ious).max(initial=0))
        if unmatched or drift >= VISIBLE_SCORE or loss >= VISIBLE_IOU_LOSS:
            ranked.append((-unmatched, -drift - loss, index, _reason(ours, theirs, image)))
    return [(index, reason) for _, _, index, reason in sorted(ranked)[:count]]


def draw_worst_images(
    images: Sequence[Image],
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    count: int = 6,
) -> tuple[Disagreement, ...]:
    """At most ``count`` images, the reference's boxes on the left and the candidate's on the right."""
    return tuple(
        Disagreement(
            images[index].name, reason, _side_by_side(images[index], reference[index], candidate[index])
        )
        for index, reason in rank_by_difference(reference, candidate, count)
    )


def _reason(reference: Detections, candidate: Detections, image: DetectionPairs) -> str:
    if len(image.missing) or len(image.extra):
        sides = (("reference", reference, image.missing), ("candidate", candidate, image.extra))
        parts = [f"{len(left)} of the {side} ({_best(of, left)})" for side, of, left in sides if len(left)]
        return f"detections without a partner: {' and '.join(parts)}"
    by_score, by_box = int(np.abs(image.drift).argmax()), int(image.ious.argmin())
    name, (before, after) = reference.name(image.pairs[by_score, 0]), image.scores[by_score]
    box = reference.name(image.pairs[by_box, 0])
    return (
        f"{name} scores {after:.3f} instead of {before:.3f}; least overlap: {box}, IoU {image.ious[by_box]:.3f}"
    )


def _best(detections: Detections, indices: Indices) -> str:
    first = max(indices, key=lambda index: detections.scores[index])
    more = ", ..." if len(indices) > 1 else ""
    return f"{detections.name(first)} {detections.scores[first]:.2f}{more}"


def _side_by_side(image: Image, reference: Detections, candidate: Detections) -> str:
    picture = load(image.path)
    left, right = (_resized(draw(picture, found.above(THRESHOLD))) for found in (reference, candidate))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    content = encode_jpeg(np.concatenate([left, gap, right], axis=1), _JPEG_QUALITY)
    return base64.b64encode(content).decode()


def _resized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    resized: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return resized
