"""A candidate engine compared with the reference engine of its model: AP, detections, stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pssdet.validation.agreement import agreement
from pssdet.validation.bootstrap import Bootstrap, paired_bootstrap
from pssdet.validation.engine_stages import first_difference
from pssdet.validation.evaluate import Evaluated
from pssdet.validation.ground_truth import Image
from pssdet.validation.parity_report.schema import Comparison
from pssdet.validation.subprocess_run import Heartbeat, run_in_subprocess
from pssdet.validation.verdict import Judgement, judge, margin
from pssdet.validation.worst_images import draw_worst_images, rank_by_difference

SEED = 0
#: On how many pictures an engine is compared with the reference stage by stage.
_STAGE_PICTURES = 2


def compare(reference: Evaluated, candidate: Evaluated, images: Sequence[Image], replicas: int) -> Comparison:
    """Compare two engines of one model that ran on the same images; a failed one makes the verdict a FAIL."""
    ap = reference.result.stats.get("AP", 0.0)
    allowed = margin(candidate.card.precision, ap)
    found = reference.detections, candidate.detections
    if reference.matched is None or candidate.matched is None:
        ran, bootstrap = False, Bootstrap(0.0, (0.0, 0.0), (0.0, 0.0), 0.0)
    else:
        ran, bootstrap = True, paired_bootstrap(reference.matched, candidate.matched, replicas, SEED)
    failure = _failure(reference, candidate, len(images))
    verdict = Judgement("FAIL", 0, failure) if failure else judge(ap, bootstrap, allowed, len(images))
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
        agreement=agreement(*found) if ran else None,
        disagreements=draw_worst_images(images, *found) if ran else (),
    )


def _failure(reference: Evaluated, candidate: Evaluated, images: int) -> str:
    """Why the comparison is a FAIL whatever its figures are: an engine failed, or only one finds anything."""
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
    """Compare the stages on the pictures where the two differ most, or on the first ones if they differ nowhere."""
    found = reference.detections, candidate.detections
    worst = rank_by_difference(*found, _STAGE_PICTURES)
    indices = [index for index, _ in worst] or range(min(_STAGE_PICTURES, len(images)))
    pictures = [images[index].path for index in indices]
    stage = run_in_subprocess(_stage_of_first_difference, reference.folder, candidate.folder, pictures)
    return stage[0] if isinstance(stage, tuple) else f"not compared: {stage}"


def _stage_of_first_difference(
    reference: Path, candidate: Path, pictures: Sequence[Path], heartbeat: Heartbeat
) -> tuple[str]:
    """The stage in a tuple, which distinguishes it from the text of a failure."""
    return (first_difference(reference, candidate, pictures, lambda _: heartbeat()),)
