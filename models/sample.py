"""The bundled picture: a rendered scene on which exports and engines are proved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.images import load
from pssdet.models.preprocess import as_batch, padded_to, prepare
from pssdet.models.reader import Preprocessing

PICTURE = Path(__file__).resolve().parent / "assets" / "rendered_scene.jpg"


def sample_picture() -> NDArray[np.uint8]:
    """The picture, uint8 [480, 853, 3] RGB."""
    return load(PICTURE)


def sample_batches(steps: Preprocessing) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """Named batches as a model takes them: the picture alone, and its mirror image together with it."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", as_batch([prepare(picture, steps)])
    yield "batch of two", as_batch([prepare(each, steps) for each in (mirrored, picture)])


def sample_of_shape(steps: Preprocessing, n: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
    """A batch of the picture and its mirror image in turn, resized to fit and padded to exactly that shape.

    Args:
        n: images in the batch.
        height: of the padded images, a multiple of the preprocessing's stride; so is ``width``.
    """
    picture = sample_picture()
    if height > width:
        picture = np.ascontiguousarray(picture.transpose(1, 0, 2))
    fitting = msgspec.structs.replace(steps, short_side=min(height, width), long_side=max(height, width))
    pictures = [prepare(each, fitting) for each in (picture, np.ascontiguousarray(picture[:, ::-1]))]
    return as_batch([padded_to(pictures[index % 2], height, width) for index in range(n)])
