"""Preprocessing of detectors and classifiers, as their authors did it; and a picture for proofs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput, GateFailed
from pssdet.models.reader import CentreCrop, Preprocessing

#: The bundled picture: a rendered scene on which exports and engines are proved.
PICTURE = Path(__file__).resolve().parent / "assets" / "rendered_scene.jpg"

#: A value for R, G and B each.
Channels = tuple[float, float, float]

#: OpenCV's names; it is imported where it is used: engines are also built where it is missing.
_INTERPOLATION = {"linear": "INTER_LINEAR", "cubic": "INTER_CUBIC"}

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


#: All of a ``NetworkInput`` but its image.
Sizes = tuple[tuple[int, int], tuple[int, int], float]


def prepare(picture: NDArray[np.uint8], steps: Preprocessing) -> NetworkInput:
    """Resize, normalise and pad one RGB picture, uint8 [H, W, 3].

    Raises:
        BadInput: it is not such an array, or has a side under two pixels before or after resizing.
    """
    from pssdet.opencv import cv2

    scale = checked_scale(picture, steps)
    height, width = picture.shape[:2]
    content, padded = network_sizes((height, width), scale, steps.stride)
    image = np.empty((3, *padded), np.float32)
    image[:, content[0] :] = 0
    image[:, : content[0], content[1] :] = 0
    # OpenCV writes into the part of the image that it is given; nothing is copied.
    places = image[:, : content[0], : content[1]]
    if steps.resize == "first":
        picture = _resize(picture, scale, steps)
    values: NDArray[Any] | None = None
    for place, plane, table in zip(places, cv2.split(picture), _tables(steps.mean, steps.std), strict=True):
        if steps.resize == "first":
            cv2.LUT(plane, table, dst=place)
        else:
            # One array serves all three: fresh memory costs more than the work in it.
            values = cv2.LUT(plane, table, dst=values)
            _resize(values, scale, steps, place)
    return NetworkInput(image, content, (height, width), scale)


def prepare_unresized(picture: NDArray[np.uint8], steps: Preprocessing) -> NetworkInput:
    """What ``prepare`` makes, bit for bit, of a picture that is not resized, without OpenCV; raises as it."""
    _check_picture(picture)
    height, width = picture.shape[:2]
    image = np.zeros((3, *_padded_size((height, width), steps.stride)), np.float32)
    for channel, table in enumerate(_tables(steps.mean, steps.std)):
        image[channel, :height, :width] = table[picture[:, :, channel]]
    return NetworkInput(image, (height, width), (height, width), 1.0)


def checked_scale(picture: NDArray[np.uint8], steps: Preprocessing) -> float:
    """The factor by which a picture is resized; raises as ``prepare``."""
    _check_picture(picture)
    height, width = picture.shape[:2]
    scale = resize_scale(height, width, steps) if picture.size else 0.0
    if min(height, width, round(height * scale), round(width * scale)) < MIN_SIDE:
        raise BadInput(
            f"a picture of {width}x{height} pixels leaves less than {MIN_SIDE} pixels at a side"
            f" (it is resized by {scale:.3g}); crop it or take a larger one"
        )
    return scale


def _check_picture(picture: NDArray[np.uint8]) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise BadInput(
            "a picture must be a uint8 array [height, width, 3],"
            f" not {picture.dtype} {list(picture.shape)}; convert it"
        )


def resize_scale(height: int, width: int, steps: Preprocessing) -> float:
    """Factor that brings the shorter side to its target unless the longer would pass its limit.

    The static program shrinks further only if the longer side *rounds* to more than its limit.
    """
    short, long = min(height, width), max(height, width)
    scale = steps.short_side / short
    passes = round(scale * long) if steps.resize == "last" else scale * long
    return steps.long_side / long if passes > steps.long_side else scale


def _resize(
    picture: NDArray[Any], scale: float, steps: Preprocessing, place: NDArray[Any] | None = None
) -> NDArray[Any]:
    from pssdet.opencv import cv2

    # Factors instead of a size: OpenCV then samples by the factor itself, as the originals do.
    method = getattr(cv2, _INTERPOLATION[steps.interpolation])
    resized: NDArray[Any] = cv2.resize(picture, None, dst=place, fx=scale, fy=scale, interpolation=method)
    return resized


@lru_cache
def _tables(mean: Channels, std: Channels) -> list[NDArray[np.float32]]:
    """For each channel what becomes of the 256 values of a pixel, float32 [256]."""
    unit = np.arange(256).astype(np.float32) / np.float32(255.0)
    return [(unit - np.float32(m)) / np.float32(s) for m, s in zip(mean, std, strict=True)]


def check_finite(steps: Preprocessing) -> None:
    """Raise ``GateFailed`` if pixels would become values that are not finite."""
    with np.errstate(all="ignore"):
        tables = _tables(steps.mean, steps.std)
    if not np.isfinite(tables).all():
        raise GateFailed("the network input would not be finite; check the card's mean and std")


def network_sizes(size: tuple[int, int], scale: float, stride: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of a picture of ``size`` (h, w) resized by ``scale``: (h, w) without padding, (H, W) with it."""
    content = (round(size[0] * scale), round(size[1] * scale))
    return content, _padded_size(content, stride)


def _padded_size(content: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-content[0] // stride) * stride, -(-content[1] // stride) * stride


def padded_alike(pictures: Sequence[NetworkInput]) -> list[NetworkInput]:
    """The pictures with more zeros at the right and bottom, up to their largest height and width.

    Boxes are still clipped to each content's size. More padding than
    a picture's own changes what these networks find in it.
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
    return {
        # A single picture need not be copied.
        "image": pictures[0].image[None] if len(pictures) == 1 else np.stack([each.image for each in pictures]),
        **sizes_of_batch([each[1:] for each in pictures]),
    }


def sizes_of_batch(sizes: Sequence[Sizes]) -> dict[str, NDArray[np.float32]]:
    """The inputs of an exported model beside ``image``, by name."""
    images, originals, scales = zip(*sizes, strict=True)
    return {
        "image_size": np.array(images, np.float32),
        "original_size": np.array(originals, np.float32),
        "scale_factor": np.array([(scale, scale) for scale in scales], np.float32),
    }


def sample_picture() -> NDArray[np.uint8]:
    """The bundled picture, uint8 [480, 853, 3] RGB."""
    from pssdet.images import load

    return load(PICTURE)


def sample_batches(steps: Preprocessing) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """Named batches as a model takes them: the picture alone, and its mirror image together with it."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", as_batch([prepare(picture, steps)])
    yield "batch of two", as_batch([prepare(each, steps) for each in (mirrored, picture)])


def sample_of_shape(steps: Preprocessing, n: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
    """``n`` times the picture and its mirror image in turn, resized to fit and padded to that size."""
    picture = sample_picture()
    if height > width:
        picture = np.ascontiguousarray(picture.transpose(1, 0, 2))
    fitting = msgspec.structs.replace(steps, short_side=min(height, width), long_side=max(height, width))
    pictures = [prepare(each, fitting) for each in (picture, np.ascontiguousarray(picture[:, ::-1]))]
    return as_batch([padded_to(pictures[index % 2], height, width) for index in range(n)])


def crop_centre(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """One RGB picture, uint8 [H, W, 3], as float32 [3, crop, crop].

    Sources: ``ResizeImage``, ``CropImage`` and ``NormalizeImage`` of PaddleClas 2.0.

    Raises:
        BadInput: the picture is not such an array, or too long and narrow to be resized in memory.
    """
    resized = resize_short_side(picture, steps.resize_short)
    top, left = ((side - steps.crop) // 2 for side in resized.shape[:2])
    return normalise(resized[top : top + steps.crop, left : left + steps.crop], steps)


def resize_short_side(picture: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """The picture with its shorter side at ``target`` pixels, both rounded; raises as ``crop_centre``."""
    from pssdet.opencv import MAX_PIXELS, cv2

    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise BadInput(
            f"a picture must be a uint8 array [height, width, 3], not {picture.dtype} {list(picture.shape)}"
        )
    height, width = picture.shape[:2]
    scale = target / min(height, width)
    size = (round(width * scale), round(height * scale))
    if size[0] * size[1] > MAX_PIXELS:
        raise BadInput(f"a picture of {width}x{height} pixels is too long and narrow to be resized; crop it")
    resized: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized


def normalise(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """An RGB picture [H, W, 3], normalised, as float32 [3, H, W]."""
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    values = (picture.astype(np.float32) * np.float32(1.0 / 255.0) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))
