"""A candidate engine compared with the reference engine of its model: AP, detections, stages.

The verdict is equivalence testing by two one-sided tests of 5 % each, which is the same as asking
whether the 90 % interval lies within the margin (Schuirmann, J. Pharmacokinetics and Biopharmaceutics
15, 1987, 657-680). Both ways count: an AP that rises out of the margin is no faithful copy either.
Detections beyond ``DETECTION_LIMITS`` are a FAIL whatever the AP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pssdet.console import Progress
from pssdet.engines.registry import OpenEngine, open_engine
from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.card import Precision, StageRecord
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.stages import LIMITS
from pssdet.models.stages import compare as compare_stages
from pssdet.validation.agreement import agreement, draw_worst_images, rank_by_difference, unmatched_share
from pssdet.validation.average_precision import Bootstrap, paired_bootstrap
from pssdet.validation.evaluate import Evaluated, Heartbeat, run_in_subprocess
from pssdet.validation.ground_truth import Image
from pssdet.validation.parity_report.schema import Agreement, Comparison, Verdict

SEED = 0
#: On how many pictures an engine is compared with the reference stage by stage.
_STAGE_PICTURES = 2

#: Part of the reference's AP that may be lost or gained: 99.9 % of FP32 and, for int8, 99 %.
SHARE: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.001, "bf16": 0.001, "int8": 0.01}


class DetectionLimits(NamedTuple):
    """How far detections may be from the reference's, whatever the AP is: AP sees only the order of scores.

    Attributes:
        unmatched: share of detections without a partner, lost and added.
        score_shift: mean difference of the scores of matched detections; beyond it, a score threshold that was
            chosen with the reference means something else.
        score_drift: 99th percentile of the differences' absolute values, which opposite shifts do not cancel.
        iou_loss: 99th percentile of 1 - IoU of matched detections.
    """

    unmatched: float
    score_shift: float
    score_drift: float
    iou_loss: float


#: In int8 single scores and boxes move far, so that only shares and means say something.
DETECTION_LIMITS: dict[Precision, DetectionLimits] = {
    "fp32": DetectionLimits(0.01, 0.001, 0.001, 0.001),
    "fp16": DetectionLimits(0.02, 0.005, 0.02, 0.05),
    "bf16": DetectionLimits(0.02, 0.005, 0.05, 0.1),
    "int8": DetectionLimits(0.05, 0.01, 1.0, 1.0),
}

#: Beyond this many images "more images" is no advice.
MOST_IMAGES = 1_000_000

#: The bootstrap resamples images; with fewer than these its intervals mean nothing.
LEAST_IMAGES = 30


class Judgement(NamedTuple):
    """The verdict on a comparison, with its reason in one sentence.

    ``images_to_decide``: about how many would decide an INCONCLUSIVE, at most ``MOST_IMAGES``; 0 if none
    would, and with the other verdicts.
    """

    verdict: Verdict
    images_to_decide: int
    reason: str


def margin(precision: Precision, reference_ap: float) -> float:
    """The largest difference in AP that counts as equal; 0 if the reference has no AP above 0."""
    return SHARE[precision] * max(0.0, reference_ap)


def judge(ap_reference: float, bootstrap: Bootstrap, margin: float, images: int) -> Judgement:
    """Compare the intervals with the margin.

    PASS if the 90 % interval lies within the margin (its ends included), FAIL if all of the 95 %
    interval lies outside, else INCONCLUSIVE. An equal candidate proves nothing where the reference found
    nothing (AP 0, or -1 without objects): INCONCLUSIVE, like anything on fewer than ``LEAST_IMAGES``.
    """
    (low90, high90), (low95, high95) = bootstrap.ci90, bootstrap.ci95
    if images < LEAST_IMAGES:
        reason = f"{images} images say nothing about the spread between images; {LEAST_IMAGES} are the least"
        return Judgement("INCONCLUSIVE", LEAST_IMAGES, reason)
    observed = f"{_points(bootstrap.delta)} AP points on {images} images, margin {100 * margin:.3f}"
    if low95 > margin or high95 < -margin:
        interval = f"{_points(low95)} to {_points(high95)}"
        return Judgement(
            "FAIL", 0, f"the difference of {observed}, is real: 95 % interval {interval}, all outside"
        )
    if ap_reference <= 0:
        return Judgement(
            "INCONCLUSIVE", 0, f"the reference finds nothing (AP {ap_reference:g}): nothing to compare"
        )
    interval = f"90 % interval {_points(low90)} to {_points(high90)}"
    if -margin <= low90 and high90 <= margin:
        return Judgement("PASS", 0, f"the difference of {observed}, is within the margin: {interval}")
    needed = _images_to_decide(bootstrap, margin, images)
    many = f"more than {MOST_IMAGES:,}" if needed == MOST_IMAGES else f"about {needed:,}"
    return Judgement(
        "INCONCLUSIVE",
        needed,
        f"the difference of {observed}, is not settled: {interval}; {many} images would decide",
    )


def _images_to_decide(bootstrap: Bootstrap, margin: float, images: int) -> int:
    """The number of images n' that would decide the difference if it stayed the same.

    An interval's reach from delta shrinks like its standard error, with
    sqrt(n / n'). PASS needs the reach of the 90 % interval within the
    distance of delta from the margin's edge, FAIL that of the 95 % interval:

        n' = n * (reach / distance)^2

    The reach is the percentile interval's own towards that edge, so that n' > n whenever n was too few.
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


def judge_engine(
    ap_reference: float, bootstrap: Bootstrap, found: Agreement, precision: Precision, images: int
) -> Judgement:
    """The verdict on the difference in AP, which the detections themselves can make a FAIL."""
    by_ap = judge(ap_reference, bootstrap, margin(precision, ap_reference), images)
    if by_ap.verdict == "FAIL" or images < LEAST_IMAGES:
        return by_ap
    reason = disagreement(found, precision)
    return Judgement("FAIL", 0, reason) if reason else by_ap


def disagreement(found: Agreement, precision: Precision) -> str:
    """What of the detections is beyond ``DETECTION_LIMITS``; empty if nothing is."""
    limits = DETECTION_LIMITS[precision]
    if (share := unmatched_share(found)) > limits.unmatched:
        return (
            f"{share:.1%} of the detections have no partner ({found.unmatched_reference} lost,"
            f" {found.unmatched_candidate} added), limit {limits.unmatched:.0%}"
        )
    if abs(found.score_shift) > limits.score_shift:
        return (
            f"scores are shifted by {found.score_shift:+.4f} on average, limit {limits.score_shift:g}: AP does"
            " not see that, a score threshold does"
        )
    if (drift := found.score_drift["p99"]) > limits.score_drift:
        return f"1 % of the scores differ by more than {drift:.4f}, limit {limits.score_drift:g}"
    if (loss := found.iou_loss["p99"]) > limits.iou_loss:
        return f"1 % of the boxes lose more than {loss:.4f} of their IoU, limit {limits.iou_loss:g}"
    return ""


class EngineStages(NamedTuple):
    """One engine's agreement with the reference on every picture; ``name`` is its folder's."""

    name: str
    records: list[StageRecord]


def compare_engines(
    reference: Path, candidates: Sequence[Path], pictures: Sequence[Path], progress: Progress
) -> list[EngineStages]:
    """Run every engine on each picture alone and compare it with the reference, which is right by definition.

    Raises:
        BadInput: an engine or a picture cannot be used, or an engine is of another model.
        EnvironmentMissing: this machine cannot run one of the engines.
    """
    with ExitStack() as stack:
        expected_card, expected = _open(reference, stack, progress)
        opened = [_open(folder, stack, progress) for folder in candidates]
        results = [EngineStages(folder.name, []) for folder in candidates]
        for folder, (card, _) in zip(candidates, opened, strict=True):
            if card.model.onnx != expected_card.model.onnx:
                raise BadInput(
                    f"{folder} and {reference} are engines of different models; compare engines of one"
                )
        for picture in pictures:
            progress(f"comparing on {picture}")
            inputs = as_batch([prepare(load(picture), expected_card.model.preprocessing)])
            tensors = expected.run(inputs)
            for result, (card, session) in zip(results, opened, strict=True):
                arch = card.model.architecture
                result.records.extend(
                    compare_stages(str(picture), arch, tensors, session.run(inputs), LIMITS[card.precision])
                )
        return results


def _open(folder: Path, stack: ExitStack, progress: Progress) -> OpenEngine:
    progress(f"opening {folder.name}")
    engine = open_engine(folder, stages=True)
    stack.callback(engine.session.close)
    return engine


def compare(reference: Evaluated, candidate: Evaluated, images: Sequence[Image], replicas: int) -> Comparison:
    """Compare two engines of one model that ran on the same images; a failed one makes the verdict a FAIL."""
    ap = reference.result.stats.get("AP", 0.0)
    allowed = margin(candidate.card.precision, ap)
    found = reference.detections, candidate.detections
    if reference.matched is None or candidate.matched is None:
        ran, bootstrap = False, Bootstrap(0.0, (0.0, 0.0), (0.0, 0.0))
    else:
        ran, bootstrap = True, paired_bootstrap(reference.matched, candidate.matched, replicas, SEED)
    same = agreement(*found) if ran else None
    failure = _failure(reference, candidate, len(images))
    if failure or same is None:
        verdict = Judgement("FAIL", 0, failure)
    else:
        verdict = judge_engine(ap, bootstrap, same, candidate.card.precision, len(images))
    return Comparison(
        model=candidate.result.model,
        candidate=candidate.result.name,
        reference=reference.result.name,
        delta_ap=bootstrap.delta,
        ci90=bootstrap.ci90,
        ci95=bootstrap.ci95,
        replicas=replicas,
        seed=SEED,
        margin=allowed,
        verdict=verdict.verdict,
        images_to_decide=verdict.images_to_decide,
        reason=verdict.reason,
        first_broken_stage=_first_broken_stage(reference, candidate, images) if ran else "",
        agreement=same,
        disagreements=draw_worst_images(images, *found) if ran else (),
    )


def _failure(reference: Evaluated, candidate: Evaluated, images: int) -> str:
    """Why the comparison is a FAIL whatever its figures: an engine failed, or only one finds anything."""
    if candidate.result.failure:
        return candidate.result.failure
    if reference.result.failure:
        return f"the reference failed: {reference.result.failure}"
    for one, other in ((candidate, reference), (reference, candidate)):
        if one.result.detections == 0 and other.result.detections > 0:
            which = "" if one is candidate else "the reference "
            return f"{which}{one.result.name} gave no detections at all on {images} images"
    return ""


def _first_broken_stage(reference: Evaluated, candidate: Evaluated, images: Sequence[Image]) -> str:
    """Compare the stages on the pictures where the two differ most, else on the first ones."""
    found = reference.detections, candidate.detections
    worst = rank_by_difference(*found, _STAGE_PICTURES)
    indices = [index for index, _ in worst] or range(min(_STAGE_PICTURES, len(images)))
    pictures = [images[index].path for index in indices]
    stage = run_in_subprocess(_stage_of_first_difference, reference.folder, candidate.folder, pictures)
    return stage[0] if isinstance(stage, tuple) else f"not compared: {stage}"


def _stage_of_first_difference(
    reference: Path, candidate: Path, pictures: Sequence[Path], heartbeat: Heartbeat
) -> tuple[str]:
    """The first stage beyond its limits, else empty; in a tuple, since a bare text means failure."""
    (result,) = compare_engines(reference, [candidate], pictures, lambda _: heartbeat())
    return (next((record.stage for record in result.records if not record.passed), ""),)
