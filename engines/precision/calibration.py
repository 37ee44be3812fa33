"""The ranges of a model's activations on pictures of the kind that it will see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.precision.ranges import AbsHistogram
from pssdet.errors import BadInput
from pssdet.images import evenly_spaced, load, pictures_in
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.reader import Preprocessing

#: More pictures change the ranges little and cost time; of a larger folder so many are taken, evenly spaced by name.
MOST_PICTURES = 256
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
        found = pictures_in(folder)
    except OSError as error:
        raise BadInput(f"the calibration folder {folder} cannot be read ({error.strerror}); name another") from error
    if not found:
        raise BadInput(f"the calibration folder {folder} holds no pictures; name one with a hundred or more")
    return evenly_spaced(found, MOST_PICTURES)


def _prepared(pictures: Sequence[Path], steps: Preprocessing) -> Iterator[tuple[Path, dict[str, NDArray[np.float32]]]]:
    for path in pictures:
        try:
            picture = load(path)
        except BadInput as error:
            raise BadInput(f"{error}, or take it out of the calibration folder") from error
        yield path, as_batch([prepare(picture, steps)])
