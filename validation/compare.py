"""One engine judged on a data set, and compared with the reference engine of its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pssdet.errors import BadInput
from pssdet.models.card import EngineCard
from pssdet.validation.agreement import agreement
from pssdet.validation.bootstrap import Matched, match, paired_bootstrap
from pssdet.validation.coco_statistics import coco_statistics
from pssdet.validation.engine_stages import first_difference
from pssdet.validation.evaluate import EngineRun, evaluate
from pssdet.validation.ground_truth import GroundTruth, Image
from pssdet.validation.parity_report.schema import Comparison, EngineResult
from pssdet.validation.subprocess_run import Alive, in_child
from pssdet.validation.verdict import Judgement, judge, margin
from pssdet.validation.worst_images import draw_worst_images, rank_by_difference

SEED = 0
#: On how many pictures an engine is compared with the reference stage by stage.
_STAGE_PICTURES = 2


class Evaluated(NamedTuple):
    """An engine with everything known of it; ``matched`` is None if it failed."""

    folder: Path
    card: EngineCard
    run: EngineRun
    result: EngineResult
    matched: Matched | None


def evaluate_on(truth: GroundTruth, images: Sequence[Image], folder: Path, card: EngineCard) -> Evaluated:
    """Run an engine on images of a data set whose ``category_ids`` are those of the engine's labels."""
    run = evaluate(folder, [image.path for image in images])
    ids = [image.id for image in images]
    stats: dict[str, float] = {}
    matched = None
    if not run.failure:
        results: list[dict[str, Any]] = []
        for image, found in zip(images, run.detections, strict=True):
            results += found.to_coco_results(image.id, truth.category_ids)
        try:
            stats = coco_statistics(truth, results, ids)
            matched = match(truth, results, ids)
        except BadInput as error:  # not of the data set, which was checked: of what the engine gave
            run = EngineRun([], None, str(error))
    result = EngineResult(
        model=card.model.model,
        name=folder.name,
        backend=card.backend,
        precision=card.precision,
        emulated=card.emulated,
        stats=stats,
        detections=sum(len(found) for found in run.detections),
        speed=run.speed,
        failure=run.failure,
    )
    return Evaluated(folder, card, run, result, matched)


def compare(reference: Evaluated, candidate: Evaluated, images: Sequence[Image], replicas: int) -> Comparison:
    """What became of the reference's detections in an engine of the same model, on the same images."""
    ap = reference.result.stats.get("AP", 0.0)
    allowed = margin(candidate.card.precision, ap)
    if reference.matched is None or candidate.matched is None:
        return _failed(reference, candidate, allowed, replicas)
    found = (reference.run.detections, candidate.run.detections)
    bootstrap = paired_bootstrap(reference.matched, candidate.matched, replicas, SEED)
    verdict = _nothing_found(reference, candidate, len(images)) or judge(ap, bootstrap, allowed, len(images))
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
        first_broken_stage=_first_broken_stage(reference, candidate, images),
        agreement=agreement(*found),
        disagreements=draw_worst_images(images, *found),
    )


def _nothing_found(reference: Evaluated, candidate: Evaluated, images: int) -> Judgement | None:
    """The verdict where one engine finds something and the other nothing at all."""
    for one, other in ((candidate, reference), (reference, candidate)):
        if one.result.detections == 0 and other.result.detections > 0:
            which = "" if one is candidate else "the reference "
            return Judgement("FAIL", 0, f"{which}{one.result.name} gave no detections at all on {images} images")
    return None


def _failed(reference: Evaluated, candidate: Evaluated, allowed: float, replicas: int) -> Comparison:
    reason = candidate.run.failure or f"the reference failed: {reference.run.failure}"
    return Comparison(
        model=candidate.result.model,
        candidate=candidate.result.name,
        reference=reference.result.name,
        delta_ap=0.0,
        ci90=(0.0, 0.0),
        ci95=(0.0, 0.0),
        replicas=replicas,
        seed=SEED,
        margin=allowed,
        verdict="FAIL",
        images_to_decide=0,
        reason=reason,
        first_broken_stage="",
        agreement=None,
    )


def _first_broken_stage(reference: Evaluated, candidate: Evaluated, images: Sequence[Image]) -> str:
    """On the pictures where the two differ most, or on the first ones if they differ nowhere."""
    found = (reference.run.detections, candidate.run.detections)
    worst = rank_by_difference(*found, _STAGE_PICTURES)
    indices = [index for index, _ in worst] or range(min(_STAGE_PICTURES, len(images)))
    pictures = [images[index].path for index in indices]
    stage = in_child(_stage_of_first_difference, reference.folder, candidate.folder, pictures)
    return stage[0] if isinstance(stage, tuple) else f"not looked at: {stage}"


def _stage_of_first_difference(reference: Path, candidate: Path, pictures: Sequence[Path], alive: Alive) -> tuple[str]:
    """In a tuple, which tells a stage from the text of a failure."""
    return (first_difference(reference, candidate, pictures, lambda _: alive()),)
