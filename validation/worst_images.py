"""Pictures of the images on which two engines differ most."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pssdet.images import encode_jpeg, load
from pssdet.opencv import cv2
from pssdet.runtime.detections import Detections
from pssdet.runtime.draw import draw
from pssdet.validation.agreement import THRESHOLD, worst_images
from pssdet.validation.ground_truth import Image
from pssdet.validation.parity_report.schema import Disagreement

_WIDTH = 480
_GAP = 8
_JPEG_QUALITY = 85


def disagreements(
    images: Sequence[Image],
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    count: int = 6,
) -> tuple[Disagreement, ...]:
    """At most ``count`` images, the reference's boxes on the left and the candidate's on the right."""
    return tuple(
        Disagreement(images[index].name, reason, _side_by_side(images[index], reference[index], candidate[index]))
        for index, reason in worst_images(reference, candidate, count)
    )


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
