"""The images on which two engines differ most, and pictures of them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pssdet.images import encode_jpeg, load
from pssdet.opencv import cv2
from pssdet.runtime.detections import Detections
from pssdet.runtime.draw import draw
from pssdet.validation.agreement import THRESHOLD, DetectionPairs, Indices, pair_detections
from pssdet.validation.ground_truth import Image
from pssdet.validation.parity_report.schema import Disagreement

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

    Those with most unmatched detections come first, then those with the largest drift of a score
    plus loss of IoU. Images without a visible difference are left out, so the list may be empty.
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
        Disagreement(images[index].name, reason, _side_by_side(images[index], reference[index], candidate[index]))
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
    return f"{name} scores {after:.3f} instead of {before:.3f}; least overlap: {box}, IoU {image.ious[by_box]:.3f}"


def _best(detections: Detections, indices: Indices) -> str:
    first = max(indices, key=lambda index: detections.scores[index])
    more = ", ..." if len(indices) > 1 else ""
    return f"{detections.name(first)} {detections.scores[first]:.2f}{more}"


def _side_by_side(image: Image, reference: Detections, candidate: Detections) -> str:
    """Both drawings as one JPEG, base64."""
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
