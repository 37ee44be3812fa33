"""Pictures are prepared as the original programs prepared them, and odd ones are refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_steps import plain_content
from reference import DATA, ROWS, sample_positions

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.preprocess import prepare, prepare_unresized, resize_scale
from pssdet.models.reader import Preprocessing

CUBIC = ROWS[4].preprocessing
LINEAR = ROWS[1].preprocessing
# OpenCV 4.2, with which rows 1-3 were recorded, resizes floats a little differently.
LIMITS = {1: 1e-4, 2: 1e-4, 3: 1e-4, 4: 1e-5}


def random_picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("scene", ["rendered_scene", "rendered_scene_tall"])
@pytest.mark.parametrize("row", [1, 2, 3, 4])
class TestAgainstTheOriginalPrograms:
    @pytest.fixture
    def case(self, row, scene):
        with np.load(DATA / "reference" / f"row{row}_preprocess_{scene}.npz") as stored:
            return dict(stored)

    @pytest.fixture
    def prepared(self, row, scene):
        return prepare(load(DATA / f"{scene}.jpg"), ROWS[row].preprocessing)

    def test_values(self, case, prepared, row):
        assert prepared.image.shape == tuple(case["input_shape"][1:])
        assert prepared.image.dtype == np.float32
        positions = sample_positions("input", int(case["sample_seed"]), prepared.image.size, 5000)
        obtained = prepared.image.reshape(-1)[positions]
        np.testing.assert_allclose(obtained, case["input_values"], rtol=0, atol=LIMITS[row])

    def test_statistics(self, case, prepared, row):
        mean, deviation = case["input_stats"]
        assert prepared.image.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-6)
        assert prepared.image.std(dtype=np.float64) == pytest.approx(deviation, abs=1e-6)

    def test_sizes(self, case, prepared, row):
        if row == 4:
            assert prepared.image_size == tuple(case["im_shape"][0])
            assert np.float32(prepared.scale) == case["scale_factor"][0, 0] == case["scale_factor"][0, 1]
        else:
            assert (*prepared.image.shape[1:], np.float32(prepared.scale)) == tuple(case["im_info"][0])
        assert prepared.original_size == tuple(case["original_size"])


@pytest.mark.parametrize("row", [1, 2, 3])
def test_static_rows_resize_the_normalised_picture(row):
    steps = ROWS[row].preprocessing
    picture = random_picture(90, 200)
    scale = min(steps.short_side / 90, steps.long_side / 200)
    normalised = (picture.astype(np.float32) / 255 - np.float32(steps.mean)) / np.float32(steps.std)
    expected = cv2.resize(normalised, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    prepared = prepare(picture, steps)
    height, width = prepared.image_size
    assert (height, width) == expected.shape[:2]
    np.testing.assert_allclose(
        prepared.image[:, :height, :width].transpose(1, 2, 0), expected, rtol=0, atol=1e-5
    )


def test_dygraph_row_resizes_eight_bit_pixels():
    picture = random_picture(50, 100)
    resized = cv2.resize(picture, None, fx=6.4, fy=6.4, interpolation=cv2.INTER_CUBIC)
    expected = (resized.astype(np.float32) / 255 - np.float32(CUBIC.mean)) / np.float32(CUBIC.std)
    prepared = prepare(picture, CUBIC)
    np.testing.assert_allclose(prepared.image[:, :320, :640].transpose(1, 2, 0), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (10_000, 10), (10, 10_000), (1, 640), (640, 1), (0, 0), (0, 5), (5, 0)]
)
@pytest.mark.parametrize("steps", [CUBIC, LINEAR], ids=["first", "last"])
def test_pictures_without_enough_pixels(width, height, steps):
    with pytest.raises(BadInput, match=f"{width}x{height} pixels"):
        prepare(np.zeros((height, width, 3), np.uint8), steps)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 1), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((3, 20, 20), np.uint8),
        np.zeros((20, 20, 3), np.float32),
        np.zeros((1, 20, 20, 3), np.uint8),
    ],
    ids=lambda picture: f"{picture.dtype}{list(picture.shape)}",
)
def test_arrays_that_are_no_rgb_picture(picture):
    with pytest.raises(BadInput, match="uint8 array"):
        prepare(picture, CUBIC)


def test_smallest_picture():
    prepared = prepare(np.full((2, 2, 3), 255, np.uint8), CUBIC)
    assert prepared.image.shape == (3, 640, 640)
    assert prepared.scale == 320


@pytest.mark.parametrize("steps", [CUBIC, LINEAR], ids=["first", "last"])
def test_views_give_the_same_as_their_copies(steps):
    view = random_picture(60, 90)[::2, ::-1, ::-1]
    view.flags.writeable = False
    np.testing.assert_array_equal(prepare(view, steps).image, prepare(view.copy(), steps).image)


def test_picture_is_left_as_it_was():
    picture = random_picture(30, 40)
    before = picture.copy()
    prepare(picture, LINEAR)
    np.testing.assert_array_equal(picture, before)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(2, 300),
    width=st.integers(2, 300),
    resize=st.sampled_from(["first", "last"]),
    interpolation=st.sampled_from(["linear", "cubic"]),
)
def test_shape_and_padding(height, width, resize, interpolation):
    steps = Preprocessing(64, 96, interpolation=interpolation, resize=resize)
    scale = resize_scale(height, width, steps)
    picture = np.full((height, width, 3), 255, np.uint8)
    if min(round(height * scale), round(width * scale)) < 2:
        with pytest.raises(BadInput):
            prepare(picture, steps)
        return
    prepared = prepare(picture, steps)
    content_height, content_width = prepared.image_size
    assert max(content_height, content_width) <= 96
    assert min(content_height, content_width) <= 64
    assert abs(content_height - height * scale) <= 0.5
    assert abs(content_width - width * scale) <= 0.5
    for padded, content in zip(prepared.image.shape[1:], prepared.image_size, strict=True):
        assert padded % 32 == 0
        assert 0 <= padded - content < 32
    # White is far above the mean, so what is zero is padding.
    assert (prepared.image[:, :content_height, :content_width] > 1).all()
    assert not prepared.image[:, content_height:].any()
    assert not prepared.image[:, :, content_width:].any()


@pytest.mark.parametrize(
    ("row", "height", "width", "scale"),
    [
        (3, 480, 800, 800 / 480),
        (2, 1333, 2000, 1000 / 1333),
        (3, 480, 801, 1333 / 801),
        (4, 480, 641, 640 / 641),
    ],
)
def test_the_static_program_rounds_before_it_compares_with_the_longest_side(row, height, width, scale):
    steps = ROWS[row].preprocessing
    assert resize_scale(height, width, steps) == scale


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(8, 300), st.integers(8, 300)),
    seed=st.integers(0, 99),
    resize=st.sampled_from(["first", "last"]),
    interpolation=st.sampled_from(["linear", "cubic"]),
)
def test_values_are_those_of_the_plain_steps(size, seed, resize, interpolation):
    steps = Preprocessing(160, 224, interpolation=interpolation, resize=resize)
    picture = random_picture(*size, seed)
    height, width = (prepared := prepare(picture, steps)).image_size
    obtained = prepared.image[:, :height, :width].transpose(1, 2, 0)
    # OpenCV may add up floats in another order if the channels are interleaved: a bit or two in the last place.
    rounding = 0 if resize == "first" else 1e-6 if interpolation == "linear" else 4e-6
    np.testing.assert_allclose(obtained, plain_content(picture, steps), rtol=0, atol=rounding)


@pytest.mark.parametrize("resize", ["first", "last"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(37, 50), (64, 33)])
def test_without_resizing_no_opencv_is_needed(resize, interpolation, size):
    steps = Preprocessing(min(size), max(size), interpolation=interpolation, resize=resize)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    expected, found = prepare(picture, steps), prepare_unresized(picture, steps)
    np.testing.assert_array_equal(found.image, expected.image)
    assert found.image.dtype == expected.image.dtype
    assert found[1:] == expected[1:]
    with pytest.raises(BadInput, match="uint8 array"):
        prepare_unresized(picture.astype(np.float32), steps)
