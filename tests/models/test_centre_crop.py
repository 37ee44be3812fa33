"""A classifier's input, against the original program's and in odd cases."""

import numpy as np
import pytest
from classifier_parts import reference
from reference import DATA, sample_positions

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.preprocess import crop_centre, resize_short_side
from pssdet.models.reader import CentreCrop

STEPS = CentreCrop()


@pytest.mark.parametrize("scene", ["rendered_scene", "rendered_scene_tall"])
def test_values_of_the_original_program(scene):
    stored = reference()
    image = crop_centre(load(DATA / f"{scene}.jpg"), STEPS)
    assert image.shape == (3, 224, 224)
    assert image.dtype == np.float32
    values = image.reshape(-1)[sample_positions(scene, 0, image.size, 2000)]
    np.testing.assert_allclose(values, stored[f"{scene}_values"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(image.mean(dtype=np.float64), stored[f"{scene}_mean"], rtol=0, atol=1e-6)


def test_the_middle_is_cut_out():
    picture = np.zeros((8, 13, 3), np.uint8)
    picture[2:6, 4:8] = 255
    image = crop_centre(picture, CentreCrop(8, 4, mean=(0, 0, 0), std=(1, 1, 1)))
    np.testing.assert_array_equal(image, np.ones((3, 4, 4), np.float32))


def test_channels_are_red_green_blue():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 0] = 255
    image = crop_centre(picture, CentreCrop(8, 8, mean=(0, 0.5, 1), std=(1, 0.5, 0.25)))
    np.testing.assert_allclose(image[:, 0, 0], [1, -1, -4])


def test_both_sides_are_rounded():
    assert resize_short_side(np.zeros((99, 150, 3), np.uint8), 256).shape == (256, 388, 3)
    assert resize_short_side(np.zeros((1000, 667, 3), np.uint8), 256).shape == (384, 256, 3)


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_what_is_no_picture(shape):
    with pytest.raises(BadInput, match="uint8 array"):
        crop_centre(np.zeros(shape, np.uint8), STEPS)
    with pytest.raises(BadInput, match="float32"):
        crop_centre(np.zeros((10, 10, 3), np.float32), STEPS)


def test_a_thread_of_a_picture_does_not_take_gigabytes():
    with pytest.raises(BadInput, match="20000x1 pixels"):
        crop_centre(np.zeros((1, 20_000, 3), np.uint8), STEPS)


def test_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match="does not fit"):
        CentreCrop(200, 224)
