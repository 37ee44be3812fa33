"""PASS, FAIL and INCONCLUSIVE, and how many images would decide."""

import msgspec
import pytest
from sample_reports import agreement

from pssdet.validation.average_precision import Bootstrap
from pssdet.validation.compare import (
    DETECTION_LIMITS,
    LEAST_IMAGES,
    MOST_IMAGES,
    disagreement,
    judge,
    judge_engine,
    margin,
)

MARGIN = 0.0006


def spread(delta, error):
    """What a bootstrap of normal differences would give."""
    reach90, reach95 = 1.645 * error, 1.96 * error
    return Bootstrap(delta, (delta - reach90, delta + reach90), (delta - reach95, delta + reach95))


@pytest.mark.parametrize(
    ("delta", "error", "verdict"),
    [
        (0.0, 0.0, "PASS"),
        (0.0, 0.0003, "PASS"),
        (-0.0005, 0.00005, "PASS"),
        (0.0005, 0.00005, "PASS"),
        (0.0, 0.0004, "INCONCLUSIVE"),
        (-0.0005, 0.0001, "INCONCLUSIVE"),
        (-0.0008, 0.0002, "INCONCLUSIVE"),
        (0.0008, 0.0002, "INCONCLUSIVE"),
        (-0.0010, 0.0002, "FAIL"),
        (0.0010, 0.0002, "FAIL"),
    ],
)
def test_verdict(delta, error, verdict):
    found = judge(0.6, spread(delta, error), MARGIN, 300)
    assert found.verdict == verdict
    assert (found.images_to_decide > 300) == (verdict == "INCONCLUSIVE")


def test_ends_of_the_intervals():
    """The 90 % interval may touch the margin; the 95 % interval must leave it."""
    touches = Bootstrap(0.0, (-MARGIN, MARGIN), (-MARGIN, MARGIN))
    assert judge(0.6, touches, MARGIN, 300).verdict == "PASS"
    leaves = Bootstrap(0.001, (0.0007, 0.0013), (MARGIN, 0.0014))
    assert judge(0.6, leaves, MARGIN, 300).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("delta", [0.0, 0.0003, -0.0003, 0.0009, -0.0009])
def test_that_many_images_decide(delta):
    """With the standard error that the larger number of images would have, the verdict is no longer open."""
    error = 0.0008
    needed = judge(0.6, spread(delta, error), MARGIN, 300).images_to_decide
    expected = "PASS" if abs(delta) < MARGIN else "FAIL"
    assert judge(0.6, spread(delta, error * (300 / (1.01 * needed)) ** 0.5), MARGIN, needed).verdict == expected
    assert (
        judge(0.6, spread(delta, error * (300 / (0.99 * needed)) ** 0.5), MARGIN, needed).verdict
        == "INCONCLUSIVE"
    )


def test_images_grow_with_the_square_of_the_error():
    few, many = (judge(0.6, spread(0.0, error), MARGIN, 300).images_to_decide for error in (0.001, 0.002))
    assert few == pytest.approx(300 * (1.645 * 0.001 / MARGIN) ** 2, rel=0.01)
    assert many == pytest.approx(4 * few, rel=0.01)


def test_a_difference_on_the_edge():
    found = judge(0.6, spread(MARGIN, 0.0001), MARGIN, 300)
    assert found.images_to_decide == MOST_IMAGES
    assert "more than 1,000,000 images" in found.reason


@pytest.mark.parametrize("ap_reference", [0.0, -1.0])
def test_a_reference_that_finds_nothing(ap_reference):
    assert margin("fp32", ap_reference) == 0
    equal = judge(ap_reference, spread(0.0, 0.0), 0.0, 300)
    assert equal[:2] == ("INCONCLUSIVE", 0)
    assert "finds nothing" in equal.reason
    assert judge(ap_reference, spread(0.1, 0.01), 0.0, 300).verdict == "FAIL"


def test_margin():
    assert margin("fp32", 0.5) == margin("fp16", 0.5) == pytest.approx(0.0005)
    assert margin("int8", 0.5) == pytest.approx(0.005)


def test_reason_names_the_numbers():
    reason = judge(0.6, spread(-0.0010, 0.0002), MARGIN, 300).reason
    for number in ("-0.100", "300 images", "0.060", "-0.139", "-0.061"):
        assert number in reason


NOTHING = {"p50": 0.0, "p99": 0.0, "max": 0.0}


def within_limits(precision, **changes):
    same = {"score_shift": 0.0, "score_drift": NOTHING, "iou_loss": NOTHING}
    same |= {"unmatched_reference": 0, "unmatched_candidate": 0}
    return disagreement(msgspec.structs.replace(agreement(), **same | changes), precision) == ""


@pytest.mark.parametrize("precision", DETECTION_LIMITS)
class TestLimitsOfTheDetections:
    """Scores that are shifted and detections without a partner, which AP does not see."""

    def test_a_shift_of_the_scores_either_way(self, precision):
        limit = DETECTION_LIMITS[precision].score_shift
        for sign in (-1, 1):
            assert within_limits(precision, score_shift=0.99 * sign * limit)
            assert not within_limits(precision, score_shift=1.01 * sign * limit)

    @pytest.mark.parametrize("side", ["unmatched_reference", "unmatched_candidate"])
    def test_detections_without_a_partner_on_either_side(self, precision, side):
        pairs = sum(agreement().score_histogram.counts)
        share = DETECTION_LIMITS[precision].unmatched
        most = int(pairs * share / (1 - share))
        assert within_limits(precision, **{side: most})
        assert not within_limits(precision, **{side: most + 2})

    @pytest.mark.parametrize("name", ["score_drift", "iou_loss"])
    def test_differences_that_cancel_one_another(self, precision, name):
        limit = getattr(DETECTION_LIMITS[precision], name)
        assert within_limits(precision, **{name: NOTHING | {"p99": 0.99 * limit, "max": 1.0}})
        assert not within_limits(precision, **{name: NOTHING | {"p99": 1.01 * limit}})

    def test_they_make_a_pass_a_fail_that_says_why(self, precision):
        shifted = msgspec.structs.replace(agreement(), score_shift=-0.5)
        equal = spread(0.0, 0.0)
        assert judge_engine(0.6, equal, shifted, precision, LEAST_IMAGES).verdict == "FAIL"
        assert "scores are shifted by -0.5000" in judge_engine(0.6, equal, shifted, precision, 300).reason
        assert judge_engine(0.6, equal, shifted, precision, LEAST_IMAGES - 1).verdict == "INCONCLUSIVE"

    def test_a_fail_by_ap_keeps_its_reason(self, precision):
        shifted = msgspec.structs.replace(agreement(), score_shift=-0.5)
        assert "is real" in judge_engine(0.6, spread(-0.1, 0.001), shifted, precision, 300).reason


def test_limits_grow_as_precision_falls():
    for one, next_ in (("fp32", "fp16"), ("fp16", "int8")):
        assert all(a < b for a, b in zip(DETECTION_LIMITS[one], DETECTION_LIMITS[next_], strict=True))
