"""The bundled picture: a rendered scene on which exports and engines are proved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.reader import Preprocessing
from pssdet.opencv import cv2

PICTURE = Path(__file__).resolve().parent / "assets" / "rendered_scene.jpg"


def sample_picture() -> NDArray[np.uint8]:
    """The picture, uint8 [480, 853, 3] RGB."""
    picture: NDArray[np.uint8] = cv2.cvtColor(cv2.imread(str(PICTURE)), cv2.COLOR_BGR2RGB)
    return picture


def sample_batches(steps: Preprocessing) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """Named batches as a model takes them: the picture alone, and its mirror image together with it."""
    picture = sample_picture()
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    yield "picture", as_batch([prepare(picture, steps)])
    yield "batch of two", as_batch([prepare(each, steps) for each in (mirrored, picture)])
