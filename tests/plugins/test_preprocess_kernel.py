"""The preprocessing kernel, run in the emulator, against what detectors are given on a CPU: OpenCV's."""

import ctypes
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from properties import DETERMINISTIC

from pssdet.models.preprocess import MIN_SIDE, prepare, resize_scale
from pssdet.models.reader import Preprocessing
from pssdet.plugins.bindings.preprocess import PreprocessProblem

INTERPOLATIONS = {"linear": 0, "cubic": 1}
WAYS = list(itertools.product(["first", "last"], ["linear", "cubic"]))
#: Grey levels, of pictures this small: where OpenCV does not use IPP, its coordinates are float32.
CLOSE = 0.05


@pytest.fixture(scope="module", params=[True, False], ids=["IPP", "no IPP"])
def ipp(request):
    """OpenCV on x86, which leaves some resizing to IPP, and elsewhere."""
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(request.param)
    if cv2.ipp.useIPP() != request.param:
        pytest.skip("this OpenCV is without IPP")
    yield request.param
    cv2.ipp.setUseIPP(before)


def problem_of(picture, steps, prepared):
    step = 1 / prepared.scale
    return PreprocessProblem(
        *picture.shape[:2],
        *prepared.image_size,
        *prepared.image.shape[1:],
        step,
        step,
        INTERPOLATIONS[steps.interpolation],
        int(steps.resize == "last"),
        (ctypes.c_float * 3)(*steps.mean),
        (ctypes.c_float * 3)(*steps.std),
    )


def emulate(library, problem, picture):
    out = np.full((3, problem.padded_height, problem.padded_width), np.nan, np.float32)
    pointers = (ctypes.c_void_p(x.ctypes.data) for x in (picture, out))
    status = library.pssdet_preprocess_run(ctypes.byref(problem), *pointers, None)
    assert status == 0
    return out


def grey_levels(values, steps):
    """Normalised values [3, h, w] as 8-bit pixels, not rounded."""
    mean, std = (np.array(x, np.float64).reshape(3, 1, 1) for x in (steps.mean, steps.std))
    return (values * std + mean) * 255


def assert_equal(library, picture, steps):
    """Padding is equal; contents are as near as ``preprocess.h`` says. Gives the share of equal values."""
    expected = prepare(picture, steps)
    obtained = emulate(library, problem_of(picture, steps, expected), np.ascontiguousarray(picture))
    height, width = expected.image_size
    outside = np.ones(expected.image.shape, bool)
    outside[:, :height, :width] = False
    np.testing.assert_array_equal(obtained[outside], 0)
    if steps.resize == "first" and steps.interpolation == "linear":
        np.testing.assert_array_equal(obtained, expected.image)
    apart = np.abs(grey_levels(obtained, steps) - grey_levels(expected.image, steps))
    assert apart.max() < (1.001 if steps.resize == "first" else CLOSE)
    return (obtained == expected.image).mean()


@st.composite
def pictures(draw):
    """Of noise, of few levels, or smooth; sides from the smallest on."""
    height, width = draw(st.integers(MIN_SIDE, 90)), draw(st.integers(MIN_SIDE, 90))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "black and white", "smooth", "white"]))
    if kind == "smooth":
        rows, columns = np.mgrid[:height, :width] / max(height, width)
        return (np.stack([rows, columns, 1 - rows], 2) * 255).astype(np.uint8)
    if kind == "white":
        return np.full((height, width, 3), 255, np.uint8)
    values = random.integers(0, 256, (height, width, 3))
    return (values if kind == "noise" else values // 128 * 255).astype(np.uint8)


@pytest.mark.parametrize(("resize", "interpolation"), WAYS)
@settings(DETERMINISTIC, max_examples=60)
@given(
    picture=pictures(),
    short=st.integers(2, 120),
    more=st.integers(0, 100),
    stride=st.sampled_from([1, 32]),
    other=st.booleans(),
)
def test_equals_the_cpu(emulated, ipp, resize, interpolation, picture, short, more, stride, other):
    numbers = {"mean": (0.1, 0.5, 0.9), "std": (1.0, 0.3, 0.05)} if other else {}
    steps = Preprocessing(short, short + more, interpolation, resize, stride=stride, **numbers)
    scale = resize_scale(*picture.shape[:2], steps)
    assume(min(round(side * scale) for side in picture.shape[:2]) >= MIN_SIDE)
    assert_equal(emulated, picture, steps)


@pytest.mark.parametrize(("resize", "interpolation"), WAYS)
@pytest.mark.parametrize(
    ("height", "width"),
    [(480, 640), (333, 517), (600, 400), (320, 320), (160, 160), (640, 500), (2, 3), (3, 500), (700, 2)],
)
def test_usual_and_extreme_pictures(emulated, ipp, resize, interpolation, height, width):
    """Shrunk by up to four and enlarged to 80 times; by two, which OpenCV does otherwise; and left as it is."""
    picture = np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)
    steps = Preprocessing(160, 240, interpolation, resize)
    if min(height, width) * resize_scale(height, width, steps) < MIN_SIDE:
        steps = Preprocessing(160, 2000, interpolation, resize)
        picture = picture[:200, :200]
    equal = assert_equal(emulated, picture, steps)
    if resize == "first" and ipp and min(height, width) > 100:
        assert equal > 0.999


@pytest.mark.parametrize(("resize", "interpolation"), WAYS)
def test_a_size_that_is_kept_is_copied(emulated, ipp, resize, interpolation):
    """The factor is 1.002, and OpenCV copies what comes out as large as it went in."""
    picture = np.random.default_rng(6).integers(0, 256, (50, 499, 3)).astype(np.uint8)
    steps = Preprocessing(100, 500, interpolation, resize)
    assert resize_scale(50, 499, steps) != 1
    problem = problem_of(picture, steps, prepare(picture, steps))
    problem.out_height, problem.out_width = 50, 499
    scale = 1.0002
    copied = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=INTERPOLATIONS[interpolation] + 1)
    np.testing.assert_array_equal(copied, picture)
    problem.scale_y = problem.scale_x = 1 / scale
    obtained = emulate(emulated, problem, picture)[:, :50, :499].transpose(1, 2, 0)
    expected = (picture.astype(np.float32) / np.float32(255) - np.float32(steps.mean)) / np.float32(steps.std)
    np.testing.assert_allclose(obtained, expected, rtol=0, atol=0 if resize == "first" else 1e-6)


GOOD = (4, 6, 8, 12, 32, 32, 0.5, 0.5, 1, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, 0) for name, _ in PreprocessProblem._fields_ if name.endswith(("height", "width"))],
        ("height", 2**30),
        ("out_width", 33),
        ("out_height", 33),
        ("padded_width", 2**30),
        *itertools.product(["scale_x", "scale_y"], [0.0, -1.0, np.nan, np.inf, 1e9]),
        ("interpolation", 2),
        ("mean", (0, 0, np.nan)),
        ("std", (1, np.inf, 1)),
        ("std", (1, 1, 0)),
    ],
)
def test_refusals(emulated, name, value):
    three = ctypes.c_float * 3
    problem = PreprocessProblem(*GOOD, three(0.5, 0.5, 0.5), three(1, 1, 1))
    pixels, out = (ctypes.c_uint8 * (4 * 6 * 3))(), (ctypes.c_float * (3 * 32 * 32))()
    assert emulated.pssdet_preprocess_run(ctypes.byref(problem), pixels, out, None) == 0
    setattr(problem, name, three(*value) if isinstance(value, tuple) else value)
    assert emulated.pssdet_preprocess_run(ctypes.byref(problem), pixels, out, None) == 1


def test_missing_tensors_are_refused(emulated):
    three = ctypes.c_float * 3
    problem = ctypes.byref(PreprocessProblem(*GOOD, three(0.5, 0.5, 0.5), three(1, 1, 1)))
    some = (ctypes.c_float * 4)()
    odd = ctypes.c_void_p(ctypes.addressof(some) + 2)
    assert emulated.pssdet_preprocess_run(problem, None, some, None) == 1
    assert emulated.pssdet_preprocess_run(problem, some, None, None) == 1
    assert emulated.pssdet_preprocess_run(problem, some, odd, None) == 1
    assert emulated.pssdet_preprocess_run(None, some, some, None) == 1
