"""Preprocessing of the classifier, as PaddleClas evaluates: resize, cut out the middle, normalise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.reader import CentreCrop
from pssdet.opencv import MAX_PIXELS, cv2


def crop_centre(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """One RGB picture, uint8 [H, W, 3], as float32 [3, crop, crop].

    Sources: ``ResizeImage``, ``CropImage`` and ``NormalizeImage`` of PaddleClas 2.0.

    Raises:
        BadInput: the picture is not such an array, or so long and narrow that resizing it takes too much memory.
    """
    resized = resize_short_side(picture, steps.resize_short)
    top, left = ((side - steps.crop) // 2 for side in resized.shape[:2])
    return normalise(resized[top : top + steps.crop, left : left + steps.crop], steps)


def resize_short_side(picture: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """The picture with its shorter side at ``target`` pixels, both sides rounded to whole ones.

    Raises:
        BadInput: as ``crop_centre``.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise BadInput(f"a picture must be a uint8 array [height, width, 3], not {picture.dtype} {list(picture.shape)}")
    height, width = picture.shape[:2]
    scale = target / min(height, width)
    size = (round(width * scale), round(height * scale))
    if size[0] * size[1] > MAX_PIXELS:
        raise BadInput(f"a picture of {width}x{height} pixels is too long and narrow to be resized; crop it")
    resized: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized


def normalise(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """An RGB picture [H, W, 3] as float32 [3, H, W], mean and deviation of ImageNet's channels taken out."""
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    values = (picture.astype(np.float32) * np.float32(1.0 / 255.0) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))
