"""The range that int8 represents, from a histogram."""

import numpy as np
import pytest

from pssdet.engines.precision.histogram import AbsHistogram
from pssdet.engines.precision.ranges import LEVELS, METHODS, range_of


def histogram_of(values):
    histogram = AbsHistogram()
    histogram.add(np.asarray(values, np.float32))
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
