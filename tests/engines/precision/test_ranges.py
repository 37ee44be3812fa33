"""Values counted in bounded memory, and the range of them that int8 represents."""

import numpy as np
import pytest

from pssdet.engines.precision.calibration import BINS, LEVELS, METHODS, AbsHistogram, range_of


def histogram_of(*parts):
    histogram = AbsHistogram()
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


def error(values, largest):
    step = largest / LEVELS
    return float(((values - np.clip(np.rint(values / step), -LEVELS, LEVELS) * step) ** 2).mean())


@pytest.mark.parametrize("method", METHODS)
def test_equally_frequent_values_are_all_kept(method):
    values = np.random.default_rng(0).uniform(-3, 3, 200000)
    assert range_of(histogram_of(values), method) == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("method", ["percentile", "entropy"])  # the squares of mse hold on to outliers
def test_a_few_outliers_are_cut_off(method):
    values = np.random.default_rng(0).normal(0, 1, 200000)
    values[:3] = 60
    found = range_of(histogram_of(values), method)
    assert 2.5 < found < 20
    assert error(values[3:], found) < 0.2 * error(values[3:], 60)


def test_mse_is_the_least_error_of_all_ranges():
    values = np.random.default_rng(1).laplace(0, 1, 200000)
    found = range_of(histogram_of(values), "mse")
    least = min(error(values, largest) for largest in np.linspace(1, 14, 200))
    assert error(values, found) == pytest.approx(least, rel=0.01)


def test_percentile_holds_its_share():
    values = np.random.default_rng(2).normal(0, 1, 400000)
    found = range_of(histogram_of(values), "percentile")
    assert np.mean(np.abs(values) > found) == pytest.approx(1e-4, rel=0.3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0] * 10, [5.0] * 10, [0.0, 1e-30], [-2.0] + [0.0] * 99])
def test_odd_tensors_have_a_range(method, values):
    found = range_of(histogram_of(values), method)
    largest = np.abs(values).max()
    assert found == 1 if largest == 0 else 0 < found <= np.float32(largest)


def test_the_order_of_the_values_does_not_matter():
    values = np.random.default_rng(0).lognormal(0, 2, 10000).astype(np.float32)
    rising, falling = np.sort(values), np.sort(values)[::-1]
    first = histogram_of(*np.split(rising, 100))
    second = histogram_of(*np.split(falling, 10))
    assert first.limit == second.limit >= values.max()
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.largest == second.largest == values.max()
    assert first.counts.sum() == 10000


def test_values_lie_in_their_bins():
    histogram = histogram_of([-0.75, 0.25, 1.0, 0.0])
    assert histogram.limit == 1
    assert {int(index): int(histogram.counts[index]) for index in np.flatnonzero(histogram.counts)} == {
        0: 1,
        BINS // 4: 1,
        3 * BINS // 4: 1,
        BINS - 1: 1,
    }


def test_zeros_before_anything_else_stay_zeros():
    histogram = histogram_of([0, 0], [3.0], [0])
    assert histogram.counts[0] == 3
    assert histogram.limit == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="not finite"):
        histogram_of([1, value])
