"""The ranges of activations in int8, from pictures of the kind that a model will see.

Symmetric: steps of range / 127 around 0. A wider range cuts off less and has coarser steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession, missing_onnx_runtime
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.images import evenly_spaced, load, pictures_in
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.reader import Preprocessing

Method = Literal["percentile", "mse", "entropy"]

BINS = 4096
#: Largest integer of the symmetric scheme.
LEVELS = 127
#: Part of the values that the percentile's range holds.
_SHARE = 0.9999
#: Ranges that are tried are multiples of this many bins.
_STRIDE = 16
#: More pictures change the ranges little; of a larger folder so many count, evenly spaced by name.
MOST_PICTURES = 256
_REPORT_EVERY = 32
_Counts = NDArray[np.int64]


class AbsHistogram:
    """Counts of absolute values in equal bins from 0 to a power of two.

    It doubles for a value beyond it and joins bins in pairs: the order of the values does not matter.

    Attributes:
        counts: int64 [BINS].
        limit: upper edge of the last bin; 0 as long as every value was 0.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.largest = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the values; raises ``ValueError`` if one is NaN or infinite."""
        sizes = np.abs(values.ravel())
        top = float(sizes.max(initial=0.0))
        if not np.isfinite(top):
            raise ValueError("values that are not finite have no range")
        self.largest = max(self.largest, top)
        if top > self.limit:
            self._grow(top)
        if self.limit == 0:
            self.counts[0] += sizes.size
            return
        # Exact, for a power of two: a value's bin does not depend on the limit of the moment.
        bins = np.minimum((sizes * np.float32(BINS / self.limit)).astype(np.int32), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def centres(self) -> NDArray[np.float64]:
        """The bins' middles, [BINS]."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * np.float64(self.limit / BINS)

    def _grow(self, top: float) -> None:
        limit = float(2.0 ** np.ceil(np.log2(top)))
        if self.limit == 0:
            self.limit = limit  # what was counted so far is zeros, which stay in the first bin
            return
        while self.limit < limit:
            joined = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate((joined, np.zeros(BINS - len(joined), np.int64)))
            self.limit *= 2


def range_of(histogram: AbsHistogram, method: Method) -> float:
    """The largest absolute value that is represented; 1 for a tensor that is zero everywhere."""
    if histogram.largest == 0:
        return 1.0
    # No range need be wider than the values.
    return min(METHODS[method](histogram), histogram.largest)


def _percentile(histogram: AbsHistogram) -> float:
    total = np.cumsum(histogram.counts)
    index = int(np.searchsorted(total, _SHARE * total[-1]))
    return (index + 1) * histogram.limit / BINS


def _mse(histogram: AbsHistogram) -> float:
    """The range with the least mean square error of rounding and cutting off."""
    counts = histogram.counts[1:]  # the first bin is mostly zeros, which any range represents
    values = histogram.centres()[1:]
    edges = _candidates(histogram.counts) * (histogram.limit / BINS)

    def error(edge: float) -> float:
        step = edge / LEVELS
        rounded = np.minimum(np.rint(values / step), LEVELS) * step
        return float((counts * (values - rounded) ** 2).sum())

    return float(min(edges, key=error))


def _entropy(histogram: AbsHistogram) -> float:
    """The range with the least Kullback-Leibler divergence of the rounded values.

    As in S. Migacz, "8-bit inference with TensorRT", GTC 2017: values beyond the range count at its end.
    """
    counts = histogram.counts.copy()
    counts[0] = 0
    candidates = _candidates(histogram.counts)
    if not len(candidates) or not counts.any():
        return histogram.largest
    best = min(candidates, key=lambda edge: _divergence(counts, int(edge)))
    return float(best) * histogram.limit / BINS


def _divergence(counts: _Counts, edge: int) -> float:
    """Divergence of the distribution below ``edge`` from the same in ``LEVELS`` steps."""
    kept = counts[:edge].astype(np.float64)
    filled = kept > 0
    if not filled.any():
        return float("inf")
    level = np.arange(edge) * LEVELS // edge
    sums = np.bincount(level, kept, minlength=LEVELS)
    members = np.bincount(level, filled, minlength=LEVELS)
    spread = np.where(filled, (sums / np.maximum(members, 1))[level], 0.0)
    kept[-1] += counts[edge:].sum()
    # The end of the range may hold cut-off values and none of its own, which no step represents.
    both = (kept > 0) & (spread > 0)
    if kept[-1] > 0 and spread[-1] == 0:
        spread[-1], both[-1] = 1e-9 * kept.sum(), True
    p, q = kept[both] / kept.sum(), spread[both] / spread.sum()
    return float((p * np.log(p / q)).sum())


def _candidates(counts: _Counts) -> NDArray[np.intp]:
    """Ranges in bins: from one bin per step on to the last bin that holds a value."""
    last = int(np.flatnonzero(counts)[-1]) + 1
    first = min(LEVELS + 1, last)
    return np.unique(np.append(np.arange(first, last, _STRIDE), last))


METHODS: dict[Method, Callable[[AbsHistogram], float]] = {
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}


def calibrate(
    model: Path, steps: Preprocessing, folder: Path, tensors: Sequence[str], progress: Progress
) -> tuple[dict[str, AbsHistogram], int]:
    """Histograms of the named tensors over a folder's pictures, and how many pictures those were.

    Raises:
        BadInput: the folder is empty, a picture unreadable, or an activation not finite.
        EnvironmentMissing: ONNX Runtime is not installed.
    """
    if lacking := missing_onnx_runtime():
        raise EnvironmentMissing(
            f"int8 takes its ranges from the exported model in ONNX Runtime, but {lacking}"
        )
    pictures = _pictures(folder)
    histograms = {name: AbsHistogram() for name in tensors}
    with closing(OnnxRuntimeSession(model, tensors, cuda=False)) as session:
        for number, (path, inputs) in enumerate(_prepared(pictures, steps)):
            if number % _REPORT_EVERY == 0:
                progress(
                    f"calibrating on pictures {number + 1} to {min(number + _REPORT_EVERY, len(pictures))}"
                )
            outputs = session.run(inputs)
            for name, histogram in histograms.items():
                try:
                    histogram.add(outputs[name])
                except ValueError as error:
                    raise BadInput(
                        f"{name} is not finite on {path}; the model cannot be calibrated on it"
                    ) from error
    return histograms, len(pictures)


def sha256_of_ranges(ranges: Mapping[str, float]) -> str:
    """SHA-256 over lines of name and range, by name: equal for equal ranges."""
    lines = "".join(f"{name} {np.float32(ranges[name]):.9g}\n" for name in sorted(ranges))
    return hashlib.sha256(lines.encode()).hexdigest()


def _pictures(folder: Path) -> list[Path]:
    try:
        found = pictures_in(folder)
    except OSError as error:
        raise BadInput(
            f"the calibration folder {folder} cannot be read ({error.strerror}); name another"
        ) from error
    if not found:
        raise BadInput(f"the calibration folder {folder} holds no pictures; name one with a hundred or more")
    return evenly_spaced(found, MOST_PICTURES)


def _prepared(
    pictures: Sequence[Path], steps: Preprocessing
) -> Iterator[tuple[Path, dict[str, NDArray[np.float32]]]]:
    for path in pictures:
        try:
            picture = load(path)
        except BadInput as error:
            raise BadInput(f"{error}, or take it out of the calibration folder") from error
        yield path, as_batch([prepare(picture, steps)])
