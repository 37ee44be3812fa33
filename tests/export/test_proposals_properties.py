"""Properties of ``GenerateProposals`` over random batches, in both pixel conventions and their mixtures."""

import functools
import itertools

import msgspec
import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import DETERMINISTIC, assert_agrees, assert_images_stand_alone
from single_call import SingleCall

from pssdet.export.functions import proposals as proposals_function
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH

ARCH = Architecture(anchor_sizes=(16.0, 32.0), pre_nms_top_n=30, post_nms_top_n=12)
STRIDES = (4, 8)
FUNCTION = proposals_function.generate_proposals(ARCH)
#: Sides (w, h) and centres of the lattice's anchors, on the second level in reverse. One side is exactly the
#: smallest allowed; on the image's border others are cut to it.
LATTICE_ANCHORS = [(12, 12, 2, 2), (4, 8, 0, 0), (1, 4, 2.5, 2)]
#: Values of dx, dy: shifts by parts of a side, and far out of any image.
SHIFTS = np.array([0, -0.5, -0.25, 0.25, 0.5, 1, -64, 64], np.float32)
#: Values of dw, dh that float32 computes exactly: nothing, a box without area, and one that fills the image.
SCALES = np.array([0, -200, 200], np.float32)
MODES = [
    pytest.param(offset, multiple, id=f"offset {offset}, padded to {multiple}")
    for offset, multiple in itertools.product((0, 1), (1, 8))
]


def lattice_anchors(offset):
    anchors = [(x - w / 2, y - h / 2, x + w / 2 - offset, y + h / 2 - offset) for w, h, x, y in LATTICE_ANCHORS]
    return [anchors, anchors[::-1]]


@functools.cache
def lattice_call(offset, multiple, threshold, pre, post):
    attributes = proposals_function.attributes(ARCH, DYGRAPH) | {
        "anchors": np.ravel(lattice_anchors(offset)).tolist(),
        "pixel_offset": float(offset),
        "clip_multiple": float(multiple),
        "nms_threshold": threshold,
        "pre_nms_top_n": pre,
        "post_nms_top_n": post,
    }
    return SingleCall(FUNCTION, attributes)


#: Fewer candidates than there are and more, fewer proposals than candidates and more.
LIMITS = st.sampled_from(
    [
        {"threshold": threshold, "pre": pre, "post": post}
        for threshold, pre, post in ((0.5, 100, 50), (0.7, 8, 50), (0.5, 20, 5), (0.7, 3, 4))
    ]
)


@st.composite
def lattice_batches(draw):
    """Score and delta maps of two levels and image sizes; most scores tie, most boxes are their anchors."""
    batch = draw(st.integers(1, 4))
    shapes = [
        draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
    ]
    scores, deltas = [], []
    for height, width in shapes:
        whole = (batch, 3, height, width)
        scores.append(draw(hnp.arrays(np.int8, whole, elements=st.integers(-3, 3))).astype(np.float32))
        shifts = draw(
            hnp.arrays(np.int8, (batch, 3, 2, height, width), elements=st.integers(0, len(SHIFTS) - 1))
        )
        scales = draw(
            hnp.arrays(np.int8, (batch, 3, 2, height, width), elements=st.sampled_from([0, 0, 0, 1, 2]))
        )
        both = np.concatenate([SHIFTS[shifts], SCALES[scales]], axis=2)
        deltas.append(both.reshape(batch, 12, height, width))
    sizes = draw(hnp.arrays(np.int16, (batch, 2), elements=st.integers(1, 20), fill=st.nothing()))
    return *scores, *deltas, sizes.astype(np.float32)


def assert_proposals(
    obtained, case, anchors, *, offset, multiple, threshold, pre, post, boxes_atol=0.0, slack=0.0
):
    """Every image's proposals are the oracle's, and nothing follows them."""
    for image in range(len(case[-1])):
        boxes, scores, count = (x[image] for x in obtained)
        of_image = [x[image] for x in case]

        def oracle(threshold_moved, min_size_moved, of_image=of_image):
            found = plain.proposals_of_image(
                of_image[:2],
                of_image[2:4],
                of_image[4],
                anchors,
                STRIDES,
                pre=pre,
                post=post,
                threshold=threshold + threshold_moved,
                min_size=1 + min_size_moved,
                offset=offset,
                multiple=multiple,
            )
            return dict(zip(("boxes", "scores"), found, strict=True))

        found = {"boxes": boxes[:count], "scores": scores[:count]}
        assert_agrees(found, oracle, [slack, slack], {"boxes": boxes_atol})
        assert not boxes[count:].any()
        assert (scores[count:] == -np.inf).all()


@pytest.mark.parametrize(("offset", "multiple"), MODES)
class TestOnTheLattice:
    @settings(DETERMINISTIC, max_examples=80)
    @given(case=lattice_batches(), limits=LIMITS)
    def test_equals_plain_numpy(self, offset, multiple, case, limits):
        obtained = lattice_call(offset, multiple, **limits)(*case)
        assert_proposals(obtained, case, lattice_anchors(offset), offset=offset, multiple=multiple, **limits)

    @settings(DETERMINISTIC, max_examples=25)
    @given(case=lattice_batches(), limits=LIMITS, data=st.data())
    def test_an_image_of_a_batch_equals_the_image_alone(self, offset, multiple, case, limits, data):
        order = data.draw(st.lists(st.integers(0, len(case[-1]) - 1), min_size=1, max_size=4), label="order")
        assert_images_stand_alone(lattice_call(offset, multiple, **limits), case, order)

    @settings(DETERMINISTIC, max_examples=25)
    @given(case=lattice_batches(), limits=LIMITS, data=st.data())
    def test_a_broken_image_leaves_its_neighbours_alone(self, offset, multiple, case, limits, data):
        call = lattice_call(offset, multiple, **limits)
        expected = call(*case)
        broken = data.draw(st.integers(0, len(case[-1]) - 1), label="broken")
        maps = [x.copy() for x in case[:-1]]
        for x in maps:
            x[broken] = np.nan
        obtained = call(*maps, case[-1])
        assert obtained[2][broken] == 0
        for a, b in zip(obtained, expected, strict=True):
            np.testing.assert_array_equal(np.delete(a, broken, 0), np.delete(b, broken, 0))


@functools.cache
def real_call(offset, anchors, clip, arch):
    """The attributes of a detector, with any mixture of the conventions that the function knows."""
    numerics = msgspec.structs.replace(DYGRAPH, pixel_offset=offset, anchors=anchors, proposal_clip=clip)
    return SingleCall(FUNCTION, proposals_function.attributes(arch, numerics))


def real_anchors(anchors):
    return [
        [plain.base_anchor(size, stride, ratio, anchors == "rounded") for ratio in ARCH.anchor_ratios]
        for size, stride in zip(ARCH.anchor_sizes, STRIDES, strict=True)
    ]


def real_case(seed, batch, height, width):
    """Scores and deltas of any value, now and then a huge one."""
    generator = np.random.default_rng(seed)
    shapes = [(batch, 3, height, width), (batch, 3, -(-height // 2), -(-width // 2))]
    scores = [generator.normal(0, 2, shape) for shape in shapes]
    deltas = [
        generator.normal(0, 0.3, (n, 4 * a, h, w)) * generator.choice([1, 1, 1, 20], (n, 4 * a, h, w))
        for n, a, h, w in shapes
    ]
    sizes = generator.integers(1, [4 * height + 1, 4 * width + 1], (batch, 2))
    return [x.astype(np.float32) for x in (*scores, *deltas, sizes)]


@pytest.mark.parametrize("clip", ["image", "padded"])
@pytest.mark.parametrize("anchors", ["exact", "rounded"])
@pytest.mark.parametrize("offset", [0, 1])
class TestOffTheLattice:
    def check(self, offset, anchors, clip, case, arch, **limits):
        obtained = real_call(offset, anchors, clip, arch)(*case)
        convention = {"offset": offset, "multiple": 1 if clip == "image" else 32, "threshold": 0.7}
        near = {"boxes_atol": 1e-3, "slack": 1e-3}
        assert_proposals(obtained, case, real_anchors(anchors), **convention, **limits, **near)
        return obtained

    @settings(DETERMINISTIC, max_examples=15)
    @given(
        seed=st.integers(0, 2**16), batch=st.integers(1, 4), height=st.integers(1, 8), width=st.integers(1, 8)
    )
    def test_equals_plain_numpy(self, offset, anchors, clip, seed, batch, height, width):
        case = real_case(seed, batch, height, width)
        self.check(offset, anchors, clip, case, ARCH, pre=30, post=12)

    def test_hundreds_of_candidates(self, offset, anchors, clip):
        """The published limits; the first level alone has more candidates, 576, than they let through."""
        case = real_case(seed=0, batch=1, height=16, width=12)
        case[-1][:] = 64, 48
        arch = Architecture(anchor_sizes=ARCH.anchor_sizes)
        obtained = self.check(offset, anchors, clip, case, arch, pre=500, post=300)
        assert obtained[2][0] > 100
