"""The kernels of ``GenerateProposals``, run in the emulator, against the ONNX function in ONNX Runtime."""

import itertools

import numpy as np
import pytest
import test_proposals_properties as cases
from emulated_selection import Proposals
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import DETERMINISTIC
from single_call import SingleCall

from pssdet.errors import BadInput
from pssdet.export.functions import proposals as proposals_function
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH

#: Layouts of the score maps and of the delta maps.
LAYOUTS = list(itertools.product(("NCHW", "NHWC"), repeat=2))
#: exp() may differ in its last places: of coordinates up to 1000.
NEXT = 1e-4


def assert_same(obtained, expected, atol=0.0):
    """Scores, counts and with them the choice are equal; boxes to ``atol``."""
    for name, got, wanted in zip(("boxes", "scores", "count"), obtained, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=atol if name == "boxes" else 0, err_msg=name)


def rounded(case, dtype):
    """The case as maps of that type tell it."""
    as_told = np.float16 if dtype == "half" else np.float32
    return [*(x.astype(as_told).astype(np.float32) for x in case[:-1]), case[-1]]


@pytest.mark.parametrize(("offset", "multiple"), cases.MODES)
class TestOnTheLattice:
    @settings(DETERMINISTIC, max_examples=25)
    @given(case=cases.lattice_batches(), limits=cases.LIMITS, layouts=st.sampled_from(LAYOUTS))
    def test_equals_the_onnx_function(self, kernels, offset, multiple, case, limits, layouts):
        reference = cases.lattice_call(offset, multiple, **limits)
        for dtype in ("float32", "half"):
            obtained = Proposals(kernels, reference.attributes, dtype, layouts)(*case)
            assert_same(obtained, reference(*rounded(case, dtype)))

    @settings(DETERMINISTIC, max_examples=25)
    @given(
        case=cases.lattice_batches(),
        limits=cases.LIMITS,
        seed=st.integers(0, 2**16),
        share=st.sampled_from([0.1, 0.5]),
    )
    def test_values_that_are_no_numbers(self, kernels, offset, multiple, case, limits, seed, share):
        """NaN takes a candidate's place and is dropped; -inf and what is below every score is no candidate."""
        generator = np.random.default_rng(seed)
        odd = np.float32([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45])
        maps = [
            np.where(generator.random(x.shape) < share, generator.choice(odd, x.shape), x) for x in case[:-1]
        ]
        reference = cases.lattice_call(offset, multiple, **limits)
        assert_same(Proposals(kernels, reference.attributes)(*maps, case[-1]), reference(*maps, case[-1]))


@pytest.mark.parametrize("clip", ["image", "padded"])
@pytest.mark.parametrize("anchors", ["exact", "rounded"])
@pytest.mark.parametrize("offset", [0, 1])
class TestOffTheLattice:
    @settings(DETERMINISTIC, max_examples=10)
    @given(
        seed=st.integers(0, 2**16), batch=st.integers(1, 3), height=st.integers(1, 8), width=st.integers(1, 8),
        layouts=st.sampled_from(LAYOUTS),
    )  # fmt: skip
    def test_equals_the_onnx_function(
        self, kernels, offset, anchors, clip, seed, batch, height, width, layouts
    ):
        case = cases.real_case(seed, batch, height, width)
        reference = cases.real_call(offset, anchors, clip, cases.ARCH)
        for dtype in ("float32", "half"):
            obtained = Proposals(kernels, reference.attributes, dtype, layouts)(*case)
            assert_same(obtained, reference(*rounded(case, dtype)), NEXT)


FULL = Architecture()
FULL_CALL = SingleCall(
    proposals_function.generate_proposals(FULL), proposals_function.attributes(FULL, DYGRAPH)
)


def full_case(seed, batch, score):
    """The maps of an image of 320 x 256; the first level's anchors take several blocks."""
    generator = np.random.default_rng(seed)
    shapes = [(batch, 3, -(-320 // stride), -(-256 // stride)) for stride in FULL.strides]
    scores = [score(generator, shape) for shape in shapes]
    deltas = [generator.normal(0, 0.4, (n, 4 * a, h, w)) for n, a, h, w in shapes]
    return [x.astype(np.float32) for x in (*scores, *deltas, generator.integers(100, 320, (batch, 2)))]


SCORES = {
    "all different": lambda generator, shape: generator.normal(-3, 2, shape),
    "many alike": lambda generator, shape: np.round(generator.normal(-3, 2, shape)),
    "all alike": lambda generator, shape: np.full(shape, -0.25),
    "hardly any": lambda generator, shape: np.where(
        generator.random(shape) < 0.01, generator.random(shape), -np.inf
    ),
    "no number": lambda generator, shape: np.full(shape, np.nan),
    "no candidate": lambda generator, shape: np.full(shape, -np.inf),
}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("scores", SCORES)
def test_the_published_limits(kernels, scores, layout):
    """500 candidates of each of five levels, of which the last ones have fewer, and 300 proposals."""
    for dtype in ("float32", "half"):
        case = full_case(1, 2, SCORES[scores])
        obtained = Proposals(kernels, FULL_CALL.attributes, dtype, (layout,))(*case)
        expected = FULL_CALL(*rounded(case, dtype))
        assert_same(obtained, expected, NEXT)
        assert (expected[2] > 200).all() == (scores not in ("hardly any", "no number", "no candidate"))


def test_the_most_candidates(kernels):
    """2048 of a level and as many proposals: the largest sizes that the kernels take."""
    attributes = FULL_CALL.attributes | {"pre_nms_top_n": 2048, "post_nms_top_n": 2048, "nms_threshold": 0.95}
    case = full_case(2, 1, SCORES["many alike"])
    expected = SingleCall(FULL_CALL.function, attributes)(*case)
    assert expected[2][0] == 2048
    assert_same(Proposals(kernels, attributes)(*case), expected, NEXT)


@pytest.mark.parametrize("change", [{"post_nms_top_n": 2049}, {"pre_nms_top_n": 0}, {"nms_threshold": 1.5}])
def test_what_the_kernels_refuse(kernels, change):
    with pytest.raises(BadInput, match=next(iter(change))):
        Proposals(kernels, FULL_CALL.attributes | change)(*full_case(0, 1, SCORES["all alike"]))
