import pytest

from pssdet.engines.trt.profiles import ShapeRange, choose_profile
from pssdet.errors import BadInput

SMALL = {
    "image": ShapeRange((1, 3, 320, 320), (1, 3, 640, 640), (1, 3, 640, 640)),
    "size": ShapeRange((1, 2), (1, 2), (1, 2)),
}
LARGE = {
    "image": ShapeRange((1, 3, 320, 320), (8, 3, 640, 640), (8, 3, 1344, 1344)),
    "size": ShapeRange((1, 2), (8, 2), (8, 2)),
}


@pytest.mark.parametrize(
    ("batch", "side", "number"), [(1, 640, 0), (1, 320, 0), (2, 640, 1), (8, 640, 1), (1, 1344, 1), (1, 672, 1)]
)
def test_the_profile_tuned_for_the_nearest_shapes(batch, side, number):
    shapes = {"image": (batch, 3, side, side), "size": (batch, 2)}
    assert choose_profile([SMALL, LARGE], shapes) == number
    assert choose_profile([LARGE, SMALL], shapes) == 1 - number


def test_the_first_of_equals():
    assert choose_profile([SMALL, SMALL], {"image": (1, 3, 640, 640), "size": (1, 2)}) == 0


@pytest.mark.parametrize(
    "shape", [(9, 3, 640, 640), (1, 3, 288, 640), (1, 3, 640, 1376), (0, 3, 640, 640), (1, 3, 640)]
)
def test_no_profile(shape):
    with pytest.raises(BadInput) as seen:
        choose_profile([SMALL, LARGE], {"image": shape, "size": (1, 2)})
    assert str(seen.value) == (
        f"this engine takes no image {list(shape)}; its optimisation profiles are"
        " profile 0: image [1, 3, 320..640, 320..640]; profile 1: image [1..8, 3, 320..1344, 320..1344]."
        " Build one for these shapes: python engines/build.py --backend tensorrt with --min-shapes,"
        " --opt-shapes and --max-shapes"
    )


def test_two_inputs_that_fit_different_profiles_fit_none():
    only_two = {
        "image": ShapeRange((1, 3, 64, 64), (1, 3, 64, 64), (1, 3, 64, 64)),
        "size": ShapeRange((2, 2), (2, 2), (2, 2)),
    }
    with pytest.raises(BadInput, match=r"image \[1, 3, 64, 64\], size \[1, 2\]"):
        choose_profile([SMALL, only_two], {"image": (1, 3, 64, 64), "size": (1, 2)})
