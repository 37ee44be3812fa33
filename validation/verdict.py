"""PASS, FAIL or INCONCLUSIVE: is a difference in AP within the margin?

Equivalence testing by two one-sided tests of 5 % each, which is the same as asking whether the
90 % interval lies within the margin (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987,
657-680). Both ways count: an AP that rises out of the margin is no faithful copy either.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pssdet.models.card import Precision
from pssdet.validation.bootstrap import Bootstrap
from pssdet.validation.parity_report.schema import Verdict

#: Part of the reference's AP that may be lost or gained: 99.9 % of FP32 and, for int8, 99 %.
SHARE: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.001, "int8": 0.01}

#: Beyond this many images "more images" is no advice.
MOST_IMAGES = 1_000_000

#: The bootstrap resamples images; with fewer than these its intervals mean nothing.
LEAST_IMAGES = 30


class Judgement(NamedTuple):
    """The verdict on a comparison.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE.
        images_to_decide: for INCONCLUSIVE, about how many images would decide, at most
            ``MOST_IMAGES``; 0 if none would, and with the other verdicts.
        reason: one sentence.
    """

    verdict: Verdict
    images_to_decide: int
    reason: str


def margin(precision: Precision, reference_ap: float) -> float:
    """The largest difference in AP that counts as equal; 0 for a reference without an AP above 0."""
    return SHARE[precision] * max(0.0, reference_ap)


def judge(ap_reference: float, bootstrap: Bootstrap, margin: float, images: int) -> Judgement:
    """Compare the intervals with the margin.

    PASS if the 90 % interval lies within the margin (its ends included), FAIL if all of the 95 %
    interval lies outside, else INCONCLUSIVE. A reference with an AP of 0 or less found nothing, so
    that an equal candidate proves nothing: INCONCLUSIVE, whatever the number of images. So is anything
    on fewer than ``LEAST_IMAGES``, whose resamples are too much alike: one image's interval has no width.

    Args:
        ap_reference: fraction; -1 if the images show no objects.
        bootstrap: the difference.
        margin: as ``margin`` gives it.
        images: how many the bootstrap drew from.
    """
    (low90, high90), (low95, high95) = bootstrap.ci90, bootstrap.ci95
    if images < LEAST_IMAGES:
        reason = f"{images} images say nothing about the spread between images; {LEAST_IMAGES} are the least"
        return Judgement("INCONCLUSIVE", LEAST_IMAGES, reason)
    shown = f"{_points(bootstrap.delta)} AP points on {images} images, margin {100 * margin:.3f}"
    if low95 > margin or high95 < -margin:
        interval = f"{_points(low95)} to {_points(high95)}"
        return Judgement("FAIL", 0, f"the difference of {shown}, is real: 95 % interval {interval}, all outside")
    if ap_reference <= 0:
        return Judgement("INCONCLUSIVE", 0, f"the reference finds nothing (AP {ap_reference:g}): nothing to compare")
    interval = f"90 % interval {_points(low90)} to {_points(high90)}"
    if -margin <= low90 and high90 <= margin:
        return Judgement("PASS", 0, f"the difference of {shown}, is within the margin: {interval}")
    needed = _images_to_decide(bootstrap, margin, images)
    many = f"more than {MOST_IMAGES:,}" if needed == MOST_IMAGES else f"about {needed:,}"
    return Judgement(
        "INCONCLUSIVE", needed, f"the difference of {shown}, is not settled: {interval}; {many} images would decide"
    )


def _images_to_decide(bootstrap: Bootstrap, margin: float, images: int) -> int:
    """The number of images n' that would decide the difference if it stayed the same.

    An interval's reach from delta shrinks like its standard error, with sqrt(n / n'). So with delta
    inside the margin, PASS needs reach90 * sqrt(n / n') <= margin - |delta|; with delta outside, FAIL
    needs reach95 * sqrt(n / n') <= |delta| - margin:

        n' = n * (reach / distance of delta from the margin's edge)^2

    The reach is the percentile interval's own towards the edge in question (for a symmetric interval
    1.645 or 1.960 standard errors), so that n' > n whenever n was too few.
    """
    delta = bootstrap.delta
    if abs(delta) <= margin:
        low, high = bootstrap.ci90
        ratios = [_ratio(high - delta, margin - delta), _ratio(delta - low, margin + delta)]
    elif delta > 0:
        ratios = [_ratio(delta - bootstrap.ci95[0], delta - margin)]
    else:
        ratios = [_ratio(bootstrap.ci95[1] - delta, -delta - margin)]
    needed = images * max(ratios) ** 2
    return MOST_IMAGES if needed >= MOST_IMAGES else max(images + 1, math.ceil(needed))


def _ratio(reach: float, distance: float) -> float:
    # A difference on the very edge is never decided.
    if reach <= 0:
        return 0.0
    return reach / distance if distance > reach / MOST_IMAGES else float(MOST_IMAGES)


def _points(value: float) -> str:
    return f"{100 * value:+.3f}"
