"""The RoIAlign kernel, run in the emulator, against the ONNX function in ONNX Runtime and against Paddle."""

import functools
import itertools
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import DETERMINISTIC
from single_call import SingleCall

from pssdet.export.functions import roi_align as roi_align_function
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH
from pssdet.plugins.bindings.detection import RoiAlignParams

STRIDES = (4, 8, 16, 32)
#: Small enough for tiny maps: levels change at areas of 16, 32 and 64 pixels squared.
CANONICAL_SIZE = 32.0
TYPES = {"float32": np.float32, "half": np.float16}
#: Type, layout.
FORMATS = [("float32", "NCHW"), ("half", "NCHW"), ("half", "NHWC")]
#: Of float32, values up to 8; sums are taken in another order, and a GPU's would be joined differently again.
CLOSE = 2e-5


@dataclass(frozen=True)
class Mode:
    """The settings in which the two eras differ."""

    offset: int
    aligned: bool
    ratio: int
    size: int = 7
    canonical: float = CANONICAL_SIZE
    strides: tuple[int, ...] = STRIDES


MODES = [Mode(*values) for values in itertools.product((0, 1), (True, False), (0, 2))]


@functools.cache
def onnx_runtime(mode):
    numerics = msgspec.structs.replace(
        DYGRAPH, pixel_offset=mode.offset, roi_aligned=mode.aligned, roi_sampling_ratio=mode.ratio
    )
    attributes = roi_align_function.attributes(Architecture(), numerics)
    attributes |= {"output_size": mode.size, "strides": list(mode.strides), "canonical_size": mode.canonical}
    return SingleCall(roi_align_function.multilevel_roi_align(), attributes)


def emulate(library, mode, maps, rois, kind="float32", layout="NCHW"):
    """The kernel's features; maps [N, C, h, w], rois [N, R, 4]. Memory that is nobody's holds NaN."""
    dtype = TYPES[kind]
    batch, channels = maps[0].shape[:2]
    problem = RoiAlignParams(
        batch,
        rois.shape[1],
        channels,
        tuple(x.shape[2:] for x in maps),
        mode.strides,
        min_level=2,
        canonical_level=4,
        canonical_size=mode.canonical,
        pixel_offset=mode.offset,
        output_size=mode.size,
        sampling_ratio=mode.ratio,
        aligned=mode.aligned,
    )
    tensors = [in_memory(x.astype(dtype), layout) for x in maps]
    regions = in_memory(rois.astype(np.float32), "NCHW")
    features = in_memory(
        np.full((batch * rois.shape[1], channels, mode.size, mode.size), np.nan, dtype), "NCHW"
    )
    library.roi_align(
        problem,
        dtype=kind,
        layout=layout,
        maps=[x.ctypes.data for x in tensors],
        rois=regions.ctypes.data,
        features=features.ctypes.data,
    )
    return features


def in_memory(tensor, layout):
    """A copy as the kernel reads it, aligned to 16 bytes; NHWC pads the channels to a multiple of eight."""
    if layout == "NHWC":
        tensor = tensor.transpose(0, 2, 3, 1)
        padding = -tensor.shape[-1] % 8
        tensor = np.pad(tensor, [(0, 0)] * 3 + [(0, padding)], constant_values=np.nan)
    memory = np.empty(tensor.nbytes + 16, np.uint8)
    start = -memory.ctypes.data % 16
    result = memory[start : start + tensor.nbytes].view(tensor.dtype).reshape(tensor.shape)
    result[...] = tensor
    return result


def assert_equal(obtained, expected):
    """Features in float32 are the expected ones but for rounding, those in half are them rounded."""
    rounding = 2**-10 if obtained.dtype == np.float16 else 0.0
    np.testing.assert_allclose(obtained.astype(np.float32), expected, rtol=rounding, atol=CLOSE)


@st.composite
def cases(draw, mode, *, kind="float32", finite=True):
    """Maps of four levels and regions [N, R, 4]; some tiny, inverted, over the border, outside, not finite."""
    # Adaptive samples of an inverted region are undefined; ONNX Runtime has no memory for those of a huge one.
    adaptive = mode.ratio == 0
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, channels, regions = (
        draw(st.integers(1, 3)),
        draw(st.sampled_from([1, 3, 8, 13, 70])),
        draw(st.integers(1, 4)),
    )
    shapes = [draw(st.tuples(st.integers(1, 9), st.integers(1, 9))) for _ in STRIDES]
    maps = [random.uniform(-8, 8, (batch, channels, *shape)).astype(TYPES[kind]) for shape in shapes]
    corners = random.uniform(-30, 60, (batch, regions, 2))
    sides = 2.0 ** random.uniform(-4, 7 if adaptive else 12, (batch, regions, 2))
    if draw(
        st.booleans()
    ):  # on the lattice, where samples fall on cells, on borders and sides on levels' bounds
        corners, sides = np.round(corners * 2) / 2, np.maximum(np.round(sides), 1)
    if not adaptive and draw(st.booleans()):
        sides *= random.choice([-1, 1], sides.shape)
    rois = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    if not finite:
        rois[random.integers(batch), random.integers(regions), random.integers(4)] = draw(
            st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 1e9])
        )
    return maps, rois


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(("kind", "layout"), FORMATS)
@settings(DETERMINISTIC, max_examples=25)
@given(data=st.data())
def test_equals_the_onnx_function(kernels, mode, kind, layout, data):
    mode = replace(mode, size=data.draw(st.sampled_from([1, 4, 7, 14])))
    maps, rois = data.draw(cases(mode, kind=kind))
    expected = onnx_runtime(mode)(*[x.astype(np.float32) for x in maps], rois)[0]
    assert_equal(emulate(kernels, mode, maps, rois, kind, layout), expected)


@pytest.mark.parametrize(
    "mode", [Mode(*values) for values in itertools.product((0, 1), (True, False), (1, 2, 8))], ids=str
)
@settings(DETERMINISTIC, max_examples=15)
@given(data=st.data())
def test_regions_that_are_not_finite(kernels, mode, data):
    maps, rois = data.draw(cases(mode, finite=False))
    expected = onnx_runtime(mode)(*maps, rois)[0]
    obtained = emulate(kernels, mode, maps, rois)
    assert np.isfinite(obtained).all()
    assert_equal(obtained, expected)


@pytest.mark.parametrize("offset", [0, 1])
@settings(DETERMINISTIC, max_examples=60)
@given(
    corner=st.tuples(st.integers(-400, 400), st.integers(-400, 400)),
    sides=st.tuples(
        *[st.one_of(st.integers(-2000, 3600), st.sampled_from([444, 448, 892, 896, 1788, 1792]))] * 2
    ),
    step=st.sampled_from([0, -1, 1]),
)
def test_the_level_of_any_region(kernels, offset, corner, sides, step):
    """At the published bounds, and the next numbers to them: maps of one value each say which was read."""
    box = np.array([*corner, *np.add(corner, sides)], np.float32) / 4
    box[2] = np.nextafter(box[2], np.float32(np.inf * step)) if step else box[2]
    maps = [np.full((1, 1, 8, 8), index, np.float32) for index in range(4)]
    mode = Mode(offset, aligned=False, ratio=2, size=1, canonical=224.0, strides=(2048,) * 4)
    expected = onnx_runtime(mode)(*maps, box.reshape(1, 1, 4))[0]
    np.testing.assert_allclose(emulate(kernels, mode, maps, box.reshape(1, 1, 4)), expected, rtol=1e-6)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@settings(DETERMINISTIC, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_paddle(kernels, aligned, ratio, seed):
    import paddle_operators

    random = np.random.default_rng(seed)
    maps = [random.uniform(-8, 8, (2, 5, height, 12)).astype(np.float32) for height in (9, 5, 3, 2)]
    corners = random.uniform(-5, 40, (2, 6, 2))
    rois = np.concatenate([corners, corners + 2 ** random.uniform(0, 10, (2, 6, 2))], axis=2).astype(np.float32)
    mode = Mode(0, aligned, ratio, canonical=224.0)
    obtained = emulate(kernels, mode, maps, rois).reshape(2, 6, 5, 7, 7)
    for image, boxes in enumerate(rois):
        levels = paddle_operators.levels_of(boxes, 0).astype(int)
        for region, level in enumerate(levels - 2):
            box = boxes[region : region + 1]
            expected = paddle_operators.roi_align(
                maps[level][image], box, STRIDES[level], aligned=aligned, sampling_ratio=ratio
            )
            assert_equal(obtained[image, region], expected[0])


def test_a_huge_region_with_adaptive_sampling_reads_each_cell_a_few_times(kernels):
    """Its samples are as many as its cells, 10^15; those outside of the map are counted, not visited."""
    maps = [np.ones((1, 3, 4, 4), np.float32)] * 4
    rois = np.array([[[-np.inf, -np.inf, np.inf, np.inf], [0, 0, 9, 9]]], np.float32)
    mode = Mode(0, aligned=True, ratio=0)
    obtained = emulate(kernels, mode, maps, rois)
    assert (np.abs(obtained[0]) < 1e-6).all()  # a few ones of 10^15
    assert_equal(obtained[1], emulate(kernels, mode, maps, rois[:, 1:])[0])


@pytest.mark.parametrize("ratio", [0, 2])
def test_long_regions_have_more_samples_than_are_kept(kernels, ratio):
    """Regions as long as the map, narrow enough for its finest level."""
    random = np.random.default_rng(3)
    maps = [
        random.uniform(-8, 8, (1, 2, *shape)).astype(np.float32)
        for shape in ((6, 400), (3, 200), (2, 100), (1, 50))
    ]
    rois = np.array([[[0, 3, 1600, 5], [10, 4, 1590.5, 7.25], [-40, 1, 1700, 9]]], np.float32)
    mode = Mode(0, aligned=True, ratio=ratio, canonical=1000.0)
    for kind, layout in FORMATS:
        typed = [x.astype(TYPES[kind]) for x in maps]
        expected = onnx_runtime(mode)(*[x.astype(np.float32) for x in typed], rois)[0]
        assert_equal(emulate(kernels, mode, typed, rois, kind, layout), expected)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_images_or_no_regions(kernels, shape):
    maps = [np.ones((shape[0], 3, 4, 4), np.float32)] * 4
    assert emulate(kernels, MODES[0], maps, np.zeros((*shape, 4), np.float32)).size == 0
