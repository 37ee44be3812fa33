"""How large the values of a tensor are, counted in bounded memory over any number of pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096


class AbsHistogram:
    """Counts of absolute values in equal bins from 0 to a power of two, which doubles when a value lies beyond it.

    Doubling joins bins in pairs, so that the result does not depend on the order of the values.

    Attributes:
        counts: int64 [BINS].
        limit: upper edge of the last bin; 0 as long as every value was 0.
        largest: the largest absolute value.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.largest = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the values.

        Raises:
            ValueError: one is NaN or infinite.
        """
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
        # Multiplying by a power of two is exact, so a value's bin does not depend on the limit of the moment.
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
