"""Operations of convolutions, against numbers worked out by hand."""

import pytest
import small_graph as small

from pssdet.engines.precision.operations import convolution_flops
from pssdet.errors import GateFailed


def test_operations_by_hand():
    # Stem: 32x48 outputs of 16 channels from 3; then 16 to 18, 16 to 16 at that size; 3x3 taps, 2 operations.
    cells = 2 * 32 * 48
    assert convolution_flops(small.exported(), (2, 64, 96)) == {
        small.STEM: 2 * cells * 16 * 3 * 9,
        small.PREDICTOR: 2 * cells * 18 * 16 * 9,
        small.DEFORM: 2 * cells * 16 * 16 * 9,
    }


def test_the_model_is_left_as_it_is():
    model = small.exported()
    before = model.SerializeToString()
    convolution_flops(model, (1, 64, 64))
    assert model.SerializeToString() == before


def test_a_size_that_cannot_be_known():
    model = small.exported()
    model.graph.node[1].input[0] = "from nowhere"
    model.graph.node[0].output[0] = "to nowhere"
    with pytest.raises(GateFailed, match=small.PREDICTOR):
        convolution_flops(model, (1, 64, 64))
