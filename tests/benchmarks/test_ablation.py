"""The ablation's faults do to a deformable convolution what they are called; one that costs nothing shows."""

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import FAULTS, Measured, with_fault

CHANNELS = 4
NAMES = (
    "stem.conv.weight",
    "a.conv_offset.weight",
    "a.conv_offset.bias",
    "b.conv_offset.weight",
    "b.conv_offset.bias",
)
SHAPES = ((8, 3, 3, 3), *((27, CHANNELS, 3, 3), (27,)) * 2)


@pytest.fixture
def parameters():
    draw = np.random.RandomState(0)
    return {
        name: draw.standard_normal(shape).astype(np.float32) for name, shape in zip(NAMES, SHAPES, strict=True)
    }


def predicted(parameters, layer, seed):
    """Offsets [9, 2] and masks [9] that a layer predicts for one patch."""
    patch = np.random.RandomState(seed).standard_normal(CHANNELS * 9).astype(np.float32)
    weight, bias = (parameters[f"{layer}.conv_offset.{part}"] for part in ("weight", "bias"))
    channels = weight.reshape(27, -1) @ patch + bias
    return channels[:18].reshape(9, 2), 1 / (1 + np.exp(-channels[18:]))


def fault(name):
    return next(each for each in FAULTS if each.name == name)


@pytest.mark.parametrize("layer", ["a", "b"])
class TestFaultsOfTheOffsets:
    def both(self, parameters, layer, name, seed=1):
        return predicted(parameters, layer, seed), predicted(with_fault(parameters, fault(name)), layer, seed)

    def test_zero_offsets(self, parameters, layer):
        (_, masks), (faulty, same) = self.both(parameters, layer, "DCN offsets zero")
        assert not faulty.any()
        np.testing.assert_array_equal(same, masks)

    def test_masks_one(self, parameters, layer):
        (offsets, _), (same, faulty) = self.both(parameters, layer, "DCN masks one")
        np.testing.assert_array_equal(same, offsets)
        np.testing.assert_array_equal(faulty, 1)

    def test_fixed_offsets(self, parameters, layer):
        (_, masks), (faulty, same) = self.both(parameters, layer, "DCN offsets fixed")
        (_, _), (elsewhere, _) = self.both(parameters, layer, "DCN offsets fixed", seed=2)
        np.testing.assert_array_equal(faulty, elsewhere)
        np.testing.assert_array_equal(faulty.ravel(), parameters[f"{layer}.conv_offset.bias"][:18])
        np.testing.assert_array_equal(same, masks)

    def test_half_a_pixel(self, parameters, layer):
        (offsets, masks), (faulty, same) = self.both(parameters, layer, "DCN samples half a pixel off")
        np.testing.assert_allclose(faulty, offsets + 0.5, atol=1e-5)
        np.testing.assert_array_equal(same, masks)

    def test_one_pair_swapped(self, parameters, layer):
        (offsets, masks), (faulty, same) = self.both(
            parameters, layer, "offset pairs of first and last tap swapped"
        )
        np.testing.assert_array_equal(faulty, offsets[[8, *range(1, 8), 0]])
        np.testing.assert_array_equal(same, masks)

    def test_axes_swapped(self, parameters, layer):
        (offsets, masks), (faulty, same) = self.both(parameters, layer, "dy and dx swapped")
        np.testing.assert_array_equal(faulty, offsets[:, ::-1])
        np.testing.assert_array_equal(same, masks)


def test_nothing_else_changes_and_the_given_parameters_stay(parameters):
    before = {name: value.copy() for name, value in parameters.items()}
    for each in FAULTS:
        faulty = with_fault(parameters, each)
        np.testing.assert_array_equal(faulty["stem.conv.weight"], before["stem.conv.weight"])
        assert all(np.array_equal(parameters[name], value) for name, value in before.items())


def test_faults_that_cost_too_little_are_named_one_by_one():
    costs = [ablation.GROSS_LOSS + 0.01 if each.gross else 0.002 for each in FAULTS]
    measured = Measured("mini", {"AP": 0.7}, [0.7 - cost for cost in costs])
    assert ablation.too_small(measured) == []
    for row, each in enumerate(FAULTS):
        faulty = list(measured.faulty)
        faulty[row] = 0.7 - (ablation.GROSS_LOSS - 0.01 if each.gross else 0.0006)
        (sentence,) = ablation.too_small(measured._replace(faulty=faulty))
        assert each.name in sentence
        assert "train it again" in sentence


def test_a_fault_that_is_not_a_number_is_too_small():
    measured = Measured("mini", {"AP": 0.7}, [float("nan")] * len(FAULTS))
    assert len(ablation.too_small(measured)) == len(FAULTS)
