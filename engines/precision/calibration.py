"""The ranges of a model's activations on pictures of the kind that it will see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession
from pssdet.engines.precision.histogram import AbsHistogram
from pssdet.errors import BadInput
from pssdet.models.preprocess import Preprocessing, as_batch, prepare
from pssdet.opencv import cv2

#: More pictures change the ranges little and cost time; of a larger folder so many are taken, evenly spaced by name.
MOST_PICTURES = 256
_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_REPORT_EVERY = 32


def calibrate(
    model: Path, steps: Preprocessing, folder: Path, tensors: Sequence[str], progress: Progress
) -> tuple[dict[str, AbsHistogram], int]:
    """Histograms of the named tensors over a folder's pictures, and how many pictures those were.

    Raises:
        BadInput: the folder holds no pictures, one cannot be read, or the model gives NaN or infinity on one.
    """
    pictures = _pictures(folder)
    histograms = {name: AbsHistogram() for name in tensors}
    with closing(OnnxRuntimeSession(model, tensors, cuda=False)) as session:
        for number, (path, inputs) in enumerate(_prepared(pictures, steps)):
            if number % _REPORT_EVERY == 0:
                progress(f"calibrating on pictures {number + 1} to {min(number + _REPORT_EVERY, len(pictures))}")
            outputs = session.run(inputs)
            for name, histogram in histograms.items():
                try:
                    histogram.add(outputs[name])
                except ValueError as error:
                    raise BadInput(f"{name} is not finite on {path}; the model cannot be calibrated on it") from error
    return histograms, len(pictures)


def sha256_of_ranges(ranges: Mapping[str, float]) -> str:
    """SHA-256 over lines of name and range, by name: equal for equal ranges."""
    lines = "".join(f"{name} {np.float32(ranges[name]):.9g}\n" for name in sorted(ranges))
    return hashlib.sha256(lines.encode()).hexdigest()


def _pictures(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    except OSError as error:
        raise BadInput(f"the calibration folder {folder} cannot be read ({error.strerror}); name another") from error
    if not found:
        raise BadInput(f"the calibration folder {folder} holds no pictures; name one with a hundred or more")
    count = min(len(found), MOST_PICTURES)
    return [found[index * len(found) // count] for index in range(count)]


def _prepared(pictures: Sequence[Path], steps: Preprocessing) -> Iterator[tuple[Path, dict[str, NDArray[np.float32]]]]:
    for path in pictures:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise BadInput(f"{path} is damaged or no picture that OpenCV reads; take it out of the calibration folder")
        yield path, as_batch([prepare(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), steps)])
