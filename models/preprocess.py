"""Preprocessing of the detectors, exactly as each detector's authors did it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.reader import Preprocessing
from pssdet.opencv import cv2

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}

#: A side of one pixel carries no picture, and resizing it to none at all would crash.
MIN_SIDE = 2


class NetworkInput(NamedTuple):
    """One prepared picture.

    Attributes:
        image: float32 [3, H, W], normalised RGB, zero-padded.
        image_size: (h, w) of the content before padding.
        original_size: (h, w) of the picture.
        scale: network pixels per original pixel, both axes.
    """

    image: NDArray[np.float32]
    image_size: tuple[int, int]
    original_size: tuple[int, int]
    scale: float


def prepare(picture: NDArray[np.uint8], steps: Preprocessing) -> NetworkInput:
    """Resize, normalise and pad one RGB picture, uint8 [H, W, 3].

    Raises:
        BadInput: the picture is not such an array, or has a side under two pixels before or after
            resizing.
    """
    scale = checked_scale(picture, steps)
    height, width = picture.shape[:2]
    content: NDArray[np.generic]
    if steps.resize == "first":
        content = _normalise(_resize(picture, scale, steps), steps)
    else:
        content = _resize(_normalise(picture, steps), scale, steps)
    return NetworkInput(_pad(content, steps.stride), content.shape[:2], (height, width), scale)


def checked_scale(picture: NDArray[np.uint8], steps: Preprocessing) -> float:
    """The factor by which a picture is resized.

    Raises:
        BadInput: as ``prepare``.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise BadInput(
            f"a picture must be a uint8 array [height, width, 3], not {picture.dtype} {list(picture.shape)}; convert it"
        )
    height, width = picture.shape[:2]
    scale = resize_scale(height, width, steps) if picture.size else 0.0
    if min(height, width, round(height * scale), round(width * scale)) < MIN_SIDE:
        raise BadInput(
            f"a picture of {width}x{height} pixels leaves less than {MIN_SIDE} pixels at a side"
            f" (it is resized by {scale:.3g}); crop it or take a larger one"
        )
    return scale


def resize_scale(height: int, width: int, steps: Preprocessing) -> float:
    """Factor that brings the shorter side to its target unless the longer would pass its limit.

    The static program shrinks further only if the longer side *rounds* to more than its limit.
    """
    short, long = min(height, width), max(height, width)
    scale = steps.short_side / short
    passes = round(scale * long) if steps.resize == "last" else scale * long
    return steps.long_side / long if passes > steps.long_side else scale


def _resize(picture: NDArray[np.generic], scale: float, steps: Preprocessing) -> NDArray[np.generic]:
    # Factors instead of a size: OpenCV then samples by the factor itself, as the originals do.
    method = _INTERPOLATION[steps.interpolation]
    resized: NDArray[np.generic] = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
    return resized


def _normalise(picture: NDArray[np.generic], steps: Preprocessing) -> NDArray[np.float32]:
    unit = picture.astype(np.float32) / np.float32(255.0)
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    return (unit - mean) / std


def network_sizes(size: tuple[int, int], scale: float, stride: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of a picture of ``size`` (h, w) that is resized by ``scale``: (h, w) without padding, and (H, W) with it."""
    content = (round(size[0] * scale), round(size[1] * scale))
    return content, _padded_size(content, stride)


def _padded_size(content: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-content[0] // stride) * stride, -(-content[1] // stride) * stride


def _pad(content: NDArray[np.generic], stride: int) -> NDArray[np.float32]:
    height, width = content.shape[:2]
    padded = np.zeros((3, *_padded_size((height, width), stride)), np.float32)
    padded[:, :height, :width] = content.transpose(2, 0, 1)
    return padded


def padded_alike(pictures: Sequence[NetworkInput]) -> list[NetworkInput]:
    """The pictures with more zeros at the right and bottom, up to their largest height and width.

    Only the images grow; the sizes of the content, to which boxes are clipped, stay each picture's
    own. More padding than a picture's own changes what these networks find in it.
    """
    height, width = (max(each.image.shape[axis] for each in pictures) for axis in (1, 2))
    return [padded_to(each, height, width) for each in pictures]


def padded_to(picture: NetworkInput, height: int, width: int) -> NetworkInput:
    """The picture with more zeros at the right and bottom, up to that height and width."""
    rows, columns = picture.image.shape[1:]
    if (rows, columns) == (height, width):
        return picture
    return picture._replace(image=np.pad(picture.image, ((0, 0), (0, height - rows), (0, width - columns))))


def as_batch(pictures: Sequence[NetworkInput]) -> dict[str, NDArray[np.float32]]:
    """Prepared pictures of one padded size as the inputs of an exported model, by name."""
    return {"image": np.stack([each.image for each in pictures]), **sizes_of_batch(pictures)}


class PictureSizes(Protocol):
    """The sizes of a picture that are inputs of the network; see ``NetworkInput``."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(h, w) of the content before padding."""
        ...

    @property
    def original_size(self) -> tuple[int, int]:
        """(h, w) of the picture."""
        ...

    @property
    def scale(self) -> float:
        """Network pixels per original pixel."""
        ...


def sizes_of_batch(pictures: Sequence[PictureSizes]) -> dict[str, NDArray[np.float32]]:
    """The inputs of an exported model beside ``image``, by name."""

    def pairs(values: Sequence[tuple[float, float]]) -> NDArray[np.float32]:
        return np.array(values, np.float32)

    return {
        "image_size": pairs([each.image_size for each in pictures]),
        "original_size": pairs([each.original_size for each in pictures]),
        "scale_factor": pairs([(each.scale, each.scale) for each in pictures]),
    }
