"""How pictures become an engine's inputs: on the CPU, or on the GPU where that is as good and faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import Session
from pssdet.engines.trt.runtime.pictures import Picture, Pictures
from pssdet.errors import PssDetError
from pssdet.models.preprocess import NetworkInput, as_batch, checked_scale, padded_alike, prepare, sizes_of_batch
from pssdet.models.reader import Preprocessing
from pssdet.plugins.bindings.preprocess import Steps
from pssdet.runtime.pipeline import Inputs

#: Most that a value made on the GPU may differ by, in steps of 8-bit pixels; and what float32 rounds beside.
_GREY_LEVEL = 1.0 + 1e-3
#: Pictures (height, width) by which the two are compared: made smaller, made larger, and upright.
_PROBES = ((480, 640), (90, 131), (1080, 810))
_TIMES = 5


@runtime_checkable
class TakesPictures(Session, Protocol):
    """A session that may be able to make its input ``image`` of pictures by itself."""

    takes_pictures: bool

    def preprocess(self, pictures: Pictures, *, fetch: bool = True) -> NDArray[np.float32] | None:
        """The input that it would make of them, float32 [N, 3, H, W]; None without ``fetch``."""
        ...


class Planned(NamedTuple):
    """One picture made ready; as ``NetworkInput``, but the image is still to be made."""

    image: Picture
    image_size: tuple[int, int]
    original_size: tuple[int, int]
    scale: float


class Reading(NamedTuple):
    """A way to make inputs.

    Attributes:
        where: ``cpu`` or ``gpu``.
        why: what decided.
        one: makes one picture ready, uint8 [H, W, 3] RGB.
        batch: what ``one`` made of the pictures of a batch, padded alike, as the engine's inputs.
    """

    where: str
    why: str
    one: Callable[[NDArray[np.uint8], Preprocessing], Any]
    batch: Callable[[Sequence[Any]], Inputs]


def choose_reading(session: Session, steps: Preprocessing) -> Reading:
    """The GPU, if the session can and does it within a grey level and faster, on made-up pictures; else the CPU."""
    if not isinstance(session, TakesPictures) or not session.takes_pictures:
        return _on_cpu("the engine takes no pictures")
    try:
        flaw = _flaw(session, steps)
    except PssDetError as error:
        flaw = str(error)
    return _on_cpu(flaw) if flaw else _GPU


def plan_picture(pixels: NDArray[np.uint8], steps: Preprocessing) -> Planned:
    """What ``prepare`` does with a picture, without doing it; the same errors."""
    scale = checked_scale(pixels, steps)
    height, width = pixels.shape[:2]
    content = (round(height * scale), round(width * scale))
    padded = (_rounded_up(content[0], steps.stride), _rounded_up(content[1], steps.stride))
    work = Steps(
        size=(height, width),
        content=content,
        padded=padded,
        scale=scale,
        cubic=steps.interpolation == "cubic",
        normalise_first=steps.resize == "last",
        mean=steps.mean,
        std=steps.std,
    )
    return Planned(Picture(pixels, work), content, (height, width), scale)


def _rounded_up(size: int, stride: int) -> int:
    return -(-size // stride) * stride


def _flaw(session: TakesPictures, steps: Preprocessing) -> str | None:
    """Why the GPU is not to be used; None if it is."""
    gains = []
    for height, width in _PROBES:
        pixels = _made_up(height, width)
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


def _gain(session: TakesPictures, pixels: NDArray[np.uint8], pictures: Pictures, steps: Preprocessing) -> float:
    """How many times as long the CPU takes; the GPU's time has the copy of the pixels, the CPU's none of its result."""
    return _best(lambda: prepare(pixels, steps)) / _best(lambda: session.preprocess(pictures, fetch=False))


def _best(work: Callable[[], object]) -> float:
    """The shortest of several times, seconds."""
    times = []
    for _ in range(_TIMES):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return min(times)


def _made_up(height: int, width: int) -> NDArray[np.uint8]:
    """A picture with everything that interpolation can get wrong: slopes, noise, hard edges; the same each time."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    slopes = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1)
    squares = ((rows // 16 + columns // 16) % 2 * 255)[..., None]
    thirds = (columns * 3 // width)[..., None]
    picture: NDArray[np.uint8] = np.choose(thirds, [noise, slopes, np.broadcast_to(squares, noise.shape)]).astype(
        np.uint8
    )
    return picture


def _pictures(batch: Sequence[Planned]) -> Pictures:
    height, width = (max(each.image.steps.padded[axis] for each in batch) for axis in (0, 1))
    return Pictures([each.image.padded_to(height, width) for each in batch])


def _cpu_batch(batch: Sequence[NetworkInput]) -> Inputs:
    return as_batch(padded_alike(batch))


def _gpu_batch(batch: Sequence[Planned]) -> Inputs:
    return {"image": _pictures(batch), **sizes_of_batch(batch)}


def _on_cpu(why: str) -> Reading:
    return Reading("cpu", why, prepare, _cpu_batch)


_GPU = Reading("gpu", "as good as on the CPU, and faster", plan_picture, _gpu_batch)
