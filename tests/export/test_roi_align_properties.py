"""Properties of ``MultilevelRoiAlign`` over random batches, in both pixel conventions and their mixtures."""

import functools
import itertools

import msgspec
import numpy as np
import plain_roi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import DETERMINISTIC, assert_images_stand_alone, show
from single_call import SingleCall

from pssdet.export.functions import roi_align as roi_align_function
from pssdet.models.architecture import ROI_CANONICAL_SIZE, Architecture
from pssdet.models.numerics import DYGRAPH

STRIDES = (4, 8, 16, 32)
#: Small enough for tiny maps: levels change at areas of 16, 32 and 64 pixels squared.
CANONICAL_SIZE = 32.0
#: How far rounding may carry a sample, in cells.
ROUNDING = 1e-4
MODES = [
    pytest.param(
        (offset, aligned, ratio), id=f"offset {offset}, {'' if aligned else 'not '}aligned, ratio {ratio}"
    )
    for offset, aligned, ratio in itertools.product((0, 1), (True, False), (0, 2))
]


@functools.cache
def align(mode, output_size=7, strides=STRIDES, canonical_size=CANONICAL_SIZE):
    offset, aligned, ratio = mode
    numerics = msgspec.structs.replace(
        DYGRAPH, pixel_offset=offset, roi_aligned=aligned, roi_sampling_ratio=ratio
    )
    attributes = roi_align_function.attributes(Architecture(), numerics)
    attributes |= {"output_size": output_size, "strides": list(strides), "canonical_size": canonical_size}
    return SingleCall(roi_align_function.multilevel_roi_align(), attributes)


def by_image(call):
    """The function with its features [N * R, ...] as [N, R, ...]."""

    def split(*arrays):
        features = call(*arrays)[0]
        return [features.reshape(*arrays[-1].shape[:2], *features.shape[1:])]

    return split


@st.composite
def batches(draw, mode):
    """Maps [N, C, h, w] of four levels and regions [N, R, 4] in half pixels, some inverted or outside."""
    _, aligned, ratio = mode
    # What an inverted region means with adaptive sampling of regions as small as they are, nobody has defined:
    # Paddle aborts, ONNX Runtime raises. The detector that samples so has clipped regions, which have an area.
    smallest = 0 if aligned and ratio == 0 else -200
    batch, channels, regions = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    shapes = [draw(st.tuples(st.integers(1, 7), st.integers(1, 7))) for _ in STRIDES]
    maps = [generator.integers(-8, 9, (batch, channels, *shape)).astype(np.float32) for shape in shapes]
    shape = (batch, regions, 2)
    corners = draw(hnp.arrays(np.int16, shape, elements=st.integers(-60, 120), fill=st.nothing()))
    # The levels' bounds and one pixel less, which is the bound in the other convention.
    sides = st.one_of(st.integers(smallest, 200), st.sampled_from([0, 30, 32, 62, 64, 126, 128]))
    extents = draw(hnp.arrays(np.int16, shape, elements=sides, fill=st.nothing()))
    return *maps, np.concatenate([corners, corners + extents], axis=2).astype(np.float32) / 2


def assert_features(obtained, mode, feature_map, box, stride, size):
    """The region's features [C, size, size] are the oracle's.

    A sample on the border beyond which a map counts as zero may fall on either side of it by rounding: a bin
    that differs must be what the oracle gives for some choice of sides.
    """
    _, aligned, ratio = mode

    def oracle(slack=plain_roi.NO_SLACK):
        feature = feature_map.astype(np.float64)
        return plain_roi.roi_align(
            feature, box, stride, size, aligned=aligned, sampling_ratio=ratio, slack=slack
        )

    expected = oracle()
    wrong = np.abs(obtained - expected).max(axis=0) > 1e-3
    if wrong.any():
        for slack in itertools.product((-ROUNDING, ROUNDING), repeat=4):
            wrong &= np.abs(obtained - oracle(slack)).max(axis=0) > 1e-3
        if not wrong.any():
            show("a sample on the border decided the result")
            return
    assert not wrong.any(), f"{box} at stride {stride}: expected\n{expected}\nobtained\n{obtained}"


@pytest.mark.parametrize("mode", MODES)
class TestOnTheLattice:
    @settings(DETERMINISTIC, max_examples=30)
    @given(data=st.data(), size=st.sampled_from([2, 7]))
    def test_equals_plain_numpy(self, mode, data, size):
        case = data.draw(batches(mode), label="maps and regions")
        *maps, rois = case
        features = by_image(align(mode, size))(*case)[0]
        for image, of_image in enumerate(rois):
            for index, box in enumerate(of_image):
                level = plain_roi.level_of(box, mode[0], size=CANONICAL_SIZE) - 2
                show(f"level {level}")
                assert_features(features[image, index], mode, maps[level][image], box, STRIDES[level], size)

    @settings(DETERMINISTIC, max_examples=15)
    @given(data=st.data())
    def test_an_image_of_a_batch_equals_the_image_alone(self, mode, data):
        case = data.draw(batches(mode), label="maps and regions")
        order = data.draw(st.lists(st.integers(0, len(case[-1]) - 1), min_size=1, max_size=4), label="order")
        assert_images_stand_alone(by_image(align(mode)), case, order)

    @settings(DETERMINISTIC, max_examples=15)
    @given(data=st.data(), value=st.sampled_from([np.nan, np.inf, -np.inf]))
    def test_a_broken_image_leaves_its_neighbours_alone(self, mode, data, value):
        """A cascade can make such regions, which are not finite, from its features."""
        case = data.draw(batches(mode), label="maps and regions")
        call = by_image(align(mode))
        expected = call(*case)[0]
        broken = data.draw(st.integers(0, len(case[-1]) - 1), label="broken")
        arrays = [x.copy() for x in case]
        for x in arrays:
            x[broken] = value
        obtained = call(*arrays)[0]
        np.testing.assert_array_equal(np.delete(obtained, broken, 0), np.delete(expected, broken, 0))


#: What boxes come to that were decoded from deltas too large; a cascade does not clip them between its stages.
HUGE = [
    [0, 0, np.inf, np.inf],
    [-np.inf, -np.inf, np.inf, np.inf],
    [np.inf, np.inf, 0, 0],
    [-np.inf, 0, np.inf, 5],
    [np.nan, 0, np.inf, 5],
    [0, 0, 3e6, 3e6],
]


@pytest.mark.parametrize("box", HUGE, ids=str)
@pytest.mark.parametrize("ratio", [1, 2, 8])
@pytest.mark.parametrize(("offset", "aligned"), [(0, True), (0, False), (1, True), (1, False)])
def test_a_huge_region_leaves_its_neighbours_alone(offset, aligned, ratio, box):
    """With any fixed number of samples; adaptive sampling has clipped regions: these would fill the memory."""
    generator = np.random.default_rng(0)
    maps = [generator.normal(0, 1, (2, 1, 8, 8)).astype(np.float32) for _ in STRIDES]
    rois = np.array([[[0, 0, 9, 9], [4, 4, 20, 30]], [[2, 2, 9, 7], [0, 0, 50, 50]]], np.float32)
    call = align((offset, aligned, ratio))
    expected = call(*maps, rois)[0]
    rois[0, 1] = box
    obtained = call(*maps, rois)[0]
    np.testing.assert_array_equal(obtained[[0, 2, 3]], expected[[0, 2, 3]])


@pytest.mark.parametrize("offset", [0, 1])
@settings(DETERMINISTIC, max_examples=200)
@given(
    corner=st.tuples(st.integers(-400, 400), st.integers(-400, 400)),
    sides=st.tuples(
        *[st.one_of(st.integers(-2000, 3600), st.sampled_from([444, 448, 892, 896, 1788, 1792]))] * 2
    ),
)
def test_the_level_of_any_region(offset, corner, sides):
    """At the published bounds: areas of 112, 224 and 448 pixels squared, in quarter pixels."""
    box = np.array([*corner, *np.add(corner, sides)], np.float32) / 4
    level = plain_roi.level_of(box, offset) - 2
    show(f"level {level}")
    # Maps of one value each, so coarse that every region lies on them, and samples however small it is.
    maps = [np.full((1, 1, 8, 8), index, np.float32) for index in range(4)]
    call = align((offset, False, 2), output_size=1, strides=(2048,) * 4, canonical_size=ROI_CANONICAL_SIZE)
    assert call(*maps, box.reshape(1, 1, 4))[0].item() == pytest.approx(level)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_sample_exactly_on_the_border_counts(aligned):
    """Bins of two cells with one sample per cell, so samples fall on -1, 0, ... and on the map's size, 4."""
    maps = [np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)] * 4
    shift = 0.5 if aligned else 0.0
    start, end = -1.5 + shift, 4.5 + shift
    rois = np.array([[[start, start, end, end]]], np.float32)
    features = align((0, aligned, 2), output_size=3, strides=(1,) * 4, canonical_size=1000.0)(*maps, rois)[0]
    samples = [0, 0, 1, 2, 3, 3]  # the rows and columns that samples at -1, 0, 1, 2, 3, 4 see
    expected = maps[0][0, 0][np.ix_(samples, samples)].reshape(3, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(features[0, 0], expected)


def test_rounding_may_take_a_sample_across_the_border():
    """Samples at exactly -1 and 1 on a one-row map, reached through sevenths: what they give may be either."""
    mode, box = (0, False, 2), np.array([0.5, -2, 1.5, 2], np.float32)
    feature_map = np.ones((1, 1, 1, 1), np.float32)
    call = align(mode, strides=(1,) * 4, canonical_size=1000.0)
    obtained = call(*[feature_map] * 4, box.reshape(1, 1, 4))[0][0]
    plainly = plain_roi.roi_align(feature_map[0], box, 1, aligned=False, sampling_ratio=2)
    assert np.abs(obtained - plainly).max() > 0.1
    assert_features(obtained, mode, feature_map[0], box, 1, 7)
    with pytest.raises(AssertionError, match="at stride 1: expected"):
        assert_features(obtained * 0.9, mode, feature_map[0], box, 1, 7)
