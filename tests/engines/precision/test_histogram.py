"""Counting absolute values in bounded memory."""

import numpy as np
import pytest

from pssdet.engines.precision.histogram import BINS, AbsHistogram


def counted(*parts):
    histogram = AbsHistogram()
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


def test_the_order_of_the_values_does_not_matter():
    values = np.random.default_rng(0).lognormal(0, 2, 10000).astype(np.float32)
    rising, falling = np.sort(values), np.sort(values)[::-1]
    first = counted(*np.split(rising, 100))
    second = counted(*np.split(falling, 10))
    assert first.limit == second.limit >= values.max()
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.largest == second.largest == values.max()
    assert first.counts.sum() == 10000


def test_values_lie_in_their_bins():
    histogram = counted([-0.75, 0.25, 1.0, 0.0])
    assert histogram.limit == 1
    assert {int(index): int(histogram.counts[index]) for index in np.flatnonzero(histogram.counts)} == {
        0: 1,
        BINS // 4: 1,
        3 * BINS // 4: 1,
        BINS - 1: 1,
    }


def test_zeros_before_anything_else_stay_zeros():
    histogram = counted([0, 0], [3.0], [0])
    assert histogram.counts[0] == 3
    assert histogram.limit == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        counted([1, value])
