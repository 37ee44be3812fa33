"""The Paddle detector's parameters and the seeded values for them."""

import numpy as np
import pytest
from reference import DATA
from static_parameters import digest, read_manifest

from pssdet.models.anchors import base_anchors
from pssdet.models.architecture import Architecture, block_names
from pssdet.models.numerics import DYGRAPH, STATIC
from pssdet.models.parameters import seeded_parameters


def test_parameters_have_the_published_names_and_shapes(row4_model):
    shapes = {name: tuple(tensor.shape) for name, tensor in row4_model.state_dict().items()}
    assert shapes == read_manifest(DATA / "row4.tsv")
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 29_556_319


def test_seeded_values_never_change():
    parameters = seeded_parameters(read_manifest(DATA / "row4.tsv"))
    assert digest(parameters) == "76b8da3a66eef9b60d0eafbadfb2ac12d20dff8e1931ca253d28fbdd9e28dba6"


@pytest.mark.parametrize(
    ("level", "low", "high"),
    [(0, (48, 24), (24, 48)), (1, (88, 48), (48, 96)), (2, (184, 96), (88, 176)), (3, (360, 184), (184, 368)),
     (4, (728, 368), (360, 720))],
)  # fmt: skip
def test_rounded_anchors_have_the_sizes_of_the_static_program(level, low, high):
    anchors = base_anchors(Architecture(), STATIC)[level]
    sizes = anchors[:, 2:] - anchors[:, :2] + 1
    square = 32 << level
    np.testing.assert_array_equal(sizes, [low, (square, square), high])
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_array_equal(centre, np.full((3, 2), 0.5 * ((4 << level) - 1)))


def test_exact_anchors_are_centred_on_the_corner_of_the_cell():
    anchors = base_anchors(Architecture(), DYGRAPH)
    np.testing.assert_array_equal(anchors[..., :2], -anchors[..., 2:])
    np.testing.assert_allclose(anchors[0, 0, 2:] * 2, [45.2548, 22.6274], rtol=1e-5)


def test_block_names():
    assert block_names(4, 6) == ["res4a", "res4b", "res4c", "res4d", "res4e", "res4f"]
    assert block_names(4, 23)[:3] == ["res4a", "res4b1", "res4b2"]
    assert block_names(4, 23)[-1] == "res4b22"
