"""Preprocessing of pictures into an engine's inputs, on the CPU or, where as exact and faster, the GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import PreprocessingSession, Session
from pssdet.errors import PssDetError
from pssdet.models.preprocess import (
    NetworkInput,
    as_batch,
    checked_scale,
    network_sizes,
    padded_alike,
    prepare,
    sizes_of_batch,
)
from pssdet.models.reader import Preprocessing
from pssdet.plugins.bindings.preprocess import PreprocessSteps, RawImage, RawImages

#: The inputs of a batch by name: arrays, or pictures where the session takes them.
Inputs = Mapping[str, Any]

#: The largest difference of a value made on the GPU, in 8-bit steps, with room for float32 rounding.
_GREY_LEVEL = 1.0 + 1e-3
#: Pictures (height, width) by which the two are compared: made smaller, made larger, and upright.
_PROBES = ((480, 640), (90, 131), (1080, 810))
_TIMES = 5


class Planned(NamedTuple):
    """One picture and its sizes, as in ``NetworkInput``; the session makes the image."""

    image: RawImage
    image_size: tuple[int, int]
    original_size: tuple[int, int]
    scale: float


class Preprocessor(NamedTuple):
    """Makes an engine's inputs of pictures, on the ``device`` ``cpu`` or ``gpu``.

    Attributes:
        reason: why this device was chosen.
        prepare: resizes and normalises one picture, uint8 [H, W, 3] RGB, or plans that for the GPU.
        collate: pads the prepared pictures of a batch to one size and joins them to the engine's inputs.
    """

    device: str
    reason: str
    prepare: Callable[[NDArray[np.uint8], Preprocessing], Any]
    collate: Callable[[Sequence[Any]], Inputs]


def choose_preprocessor(session: Session, steps: Preprocessing) -> Preprocessor:
    """The session's, if it is faster and within a grey level on synthetic pictures; else the CPU's."""
    if not isinstance(session, PreprocessingSession) or not session.takes_raw_images:
        return _on_cpu("the engine takes no pictures")
    try:
        flaw = _flaw(session, steps)
    except PssDetError as error:
        flaw = str(error)
    return _on_cpu(flaw) if flaw else _GPU


def plan_picture(pixels: NDArray[np.uint8], steps: Preprocessing) -> Planned:
    """The steps that ``prepare`` takes for a picture, to be taken later; raises the same errors."""
    scale = checked_scale(pixels, steps)
    height, width = pixels.shape[:2]
    content, padded = network_sizes((height, width), scale, steps.stride)
    work = PreprocessSteps(
        size=(height, width),
        content=content,
        padded=padded,
        scale=scale,
        cubic=steps.interpolation == "cubic",
        normalise_first=steps.resize == "last",
        mean=steps.mean,
        std=steps.std,
    )
    return Planned(RawImage(pixels, work), content, (height, width), scale)


def _flaw(session: PreprocessingSession, steps: Preprocessing) -> str | None:
    """Why the GPU must not be used; None if it may."""
    gains = []
    for height, width in _PROBES:
        pixels = _synthetic_picture(height, width)
        pictures = _pictures([plan_picture(pixels, steps)])
        made = session.preprocess(pictures)
        wanted = prepare(pixels, steps).image[None]
        if made is None or made.shape != wanted.shape:
            return "the GPU gives another shape"
        levels = np.abs(made - wanted).max(axis=(0, 2, 3)) * np.abs(np.array(steps.std)) * 255
        if not (levels <= _GREY_LEVEL).all():
            return f"the GPU's result differs by {levels.max():.3g} grey levels at {width}x{height} pixels"
        gains.append(_gain(session, pixels, pictures, steps))
    if min(gains) <= 1:
        return f"the GPU is not faster: {min(gains):.2f} times the CPU's speed"
    return None


def _gain(
    session: PreprocessingSession, pixels: NDArray[np.uint8], pictures: RawImages, steps: Preprocessing
) -> float:
    """CPU time over GPU time; only the GPU's includes copying, that of the pixels."""
    return _best(lambda: prepare(pixels, steps)) / _best(lambda: session.preprocess(pictures, fetch=False))


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return min(times)


def _synthetic_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Slopes, noise and hard edges, which interpolation can get wrong; equal on every call."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    slopes = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
    squares = ((rows // 16 + columns // 16) % 2 * 255)[..., None]
    thirds = (columns * 3 // width)[..., None]
    picture: NDArray[np.uint8] = np.choose(
        thirds, [noise, slopes, np.broadcast_to(squares, noise.shape)]
    ).astype(np.uint8)
    return picture


def _pictures(batch: Sequence[Planned]) -> RawImages:
    height, width = (max(each.image.steps.padded[axis] for each in batch) for axis in (0, 1))
    return RawImages([each.image.padded_to(height, width) for each in batch])


def _collate_on_cpu(batch: Sequence[NetworkInput]) -> Inputs:
    return as_batch(padded_alike(batch))


def _collate_on_gpu(batch: Sequence[Planned]) -> Inputs:
    return {"image": _pictures(batch), **sizes_of_batch([each[1:] for each in batch])}


def _on_cpu(reason: str) -> Preprocessor:
    return Preprocessor("cpu", reason, prepare, _collate_on_cpu)


_GPU = Preprocessor("gpu", "as good as on the CPU, and faster", plan_picture, _collate_on_gpu)
