"""Optimisation profiles: defaults that take every picture, and shapes from the command line."""

import numpy as np
import pytest

from pssdet.engines.input_shapes import input_shape
from pssdet.engines.trt.profiles import Profile, default_profile, read_profiles
from pssdet.errors import BadInput
from pssdet.models.preprocess import prepare
from pssdet.models.reader import Preprocessing

READERS = [(640, 640, "first"), (800, 1333, "last"), (256, 256, "first"), (640, 500, "first")]


@pytest.mark.parametrize(("short", "long", "resize"), READERS)
@pytest.mark.parametrize(
    "size", [(480, 640), (640, 480), (500, 500), (40, 1200), (1200, 40), (8, 700), (37, 41)]
)
def test_every_picture_fits_the_default_profile(short, long, resize, size):
    steps = Preprocessing(short, long, interpolation="linear", resize=resize)
    image = prepare(np.zeros((*size, 3), np.uint8), steps).image
    profile = default_profile(short, long)
    sizes = zip(profile.min[1:], image.shape[1:], profile.max[1:], strict=True)
    assert all(low <= size <= high for low, size, high in sizes)
    assert (profile.min[0], profile.max[0]) == (1, 8)


def test_defaults_are_those_of_the_rows():
    assert default_profile(640, 640) == Profile((1, 32, 32), (1, 480, 640), (8, 640, 640))
    assert default_profile(800, 1333) == Profile((1, 32, 32), (1, 800, 1088), (8, 1344, 1344))


def test_what_a_typical_picture_becomes_is_the_typical_shape():
    for short, long, resize in READERS[:3]:
        steps = Preprocessing(short, long, interpolation="linear", resize=resize)
        image = prepare(np.zeros((480, 640, 3), np.uint8), steps).image
        assert default_profile(short, long).opt == (1, *image.shape[1:])


def test_shapes_of_inputs():
    assert input_shape("image", (2, 64, 96)) == (2, 3, 64, 96)
    for name in ("image_size", "original_size", "scale_factor"):
        assert input_shape(name, (2, 64, 96)) == (2, 2)
    profile = Profile((1, 32, 32), (2, 64, 96), (4, 128, 128))
    assert profile.range_of("image") == ((1, 3, 32, 32), (2, 3, 64, 96), (4, 3, 128, 128))


def test_several_profiles_from_text():
    profiles = read_profiles(
        ["1x32x32", "8x32x32"], ["1x640x640", "image:8x3x640x640"], ["1x640x640", "8x640x672"]
    )
    assert profiles == (
        Profile((1, 32, 32), (1, 640, 640), (1, 640, 640)),
        Profile((8, 32, 32), (8, 640, 640), (8, 640, 672)),
    )


def test_what_is_not_given_is_the_typical_shape():
    assert read_profiles([], ["2x64x64"], []) == (Profile((2, 64, 64), (2, 64, 64), (2, 64, 64)),)
    assert read_profiles([], [], []) == ()


@pytest.mark.parametrize(
    ("low", "typical", "high", "message"),
    [
        ([], ["640x640"], [], "NxHxW"),
        ([], ["1x640x640x3"], [], "NxHxW"),
        ([], ["1x-640x640"], [], "NxHxW"),
        ([], ["0x64x64"], [], "N starts at 1"),
        ([], ["1x65x64"], [], "multiples of 32"),
        ([], ["1x64x0"], [], "multiples of 32"),
        (["1x64x64"], ["1x32x64"], ["1x64x64"], "min <= opt <= max"),
        (["1x32x32"], ["2x64x64"], ["1x64x64"], "min <= opt <= max"),
        (["1x32x32"], [], ["1x64x64"], "--opt-shapes"),
        (["1x32x32"], ["1x64x64", "2x64x64"], [], "1 --min-shapes but 2"),
    ],
)
def test_shapes_that_make_no_profile(low, typical, high, message):
    with pytest.raises(BadInput, match=message):
        read_profiles(low, typical, high)
