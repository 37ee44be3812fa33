"""A parity report from engines and a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pssdet.console import Progress
from pssdet.engines.catalogue import choose_backend
from pssdet.errors import BadInput
from pssdet.models.card import EngineCard, read_engine_card
from pssdet.models.zoo import PUBLISHED
from pssdet.runtime.images import load
from pssdet.validation.agreement import agreement, worst_images
from pssdet.validation.bootstrap import Matched, match, paired_bootstrap
from pssdet.validation.child import Alive, in_child
from pssdet.validation.coco_statistics import coco_statistics
from pssdet.validation.decoder_complaints import told_by_decoders
from pssdet.validation.disagreements import disagreements
from pssdet.validation.engine_stages import first_difference
from pssdet.validation.evaluation import EngineRun, evaluate
from pssdet.validation.ground_truth import GroundTruth, Image, read_ground_truth
from pssdet.validation.identity import identity
from pssdet.validation.report_schema import Comparison, EngineResult, PublishedRow, Report
from pssdet.validation.verdict import Judgement, judge, margin

REPLICAS = 1000
SEED = 0
VAL2017, VAL2017_IMAGES = "instances_val2017.json", 5000
#: On how many pictures an engine is compared with the reference stage by stage.
_STAGE_PICTURES = 2


class _Evaluated(NamedTuple):
    """An engine with everything known of it; ``matched`` is None if it failed."""

    folder: Path
    card: EngineCard
    run: EngineRun
    result: EngineResult
    matched: Matched | None


def assemble(
    engines: Sequence[Path], annotations: Path, images: Path, progress: Progress, replicas: int = REPLICAS
) -> Report:
    """Evaluate every engine and compare each with the reference: Paddle's, or the first.

    Args:
        engines: folders of engines of one model.
        annotations: COCO instances file whose categories are the model's labels.
        images: the folder that its file names are relative to.
        progress: told of each step.
        replicas: of the bootstrap.

    Raises:
        BadInput: the data set cannot be used, or the engines are not of one model.
        EnvironmentMissing: this machine cannot run one of the engines, or packages are missing.
    """
    cards = _cards(engines)
    truth = read_ground_truth(annotations, images, cards[0].model.labels)
    progress("checking the pictures")
    usable, problems = _usable(truth)
    what = identity(cards, truth, usable)  # now: files may change during a long evaluation
    evaluated = []
    for folder, card in zip(engines, cards, strict=True):
        progress(f"evaluating {folder.name} on {len(usable)} pictures")
        evaluated.append(_evaluate(folder, card, truth, usable))
    reference = next((each for each in evaluated if each.card.backend == "paddle"), evaluated[0])
    progress("comparing")
    comparisons = [_compare(reference, each, usable, replicas) for each in evaluated if each is not reference]
    return Report(
        identity=what,
        engines=tuple(each.result for each in evaluated),
        comparisons=tuple(comparisons),
        published=_published(evaluated, is_val2017=annotations.name == VAL2017 and len(usable) == VAL2017_IMAGES),
        warnings=tuple(f"left out: {name}: {reason}" for name, reason in problems),
    )


def _cards(engines: Sequence[Path]) -> list[EngineCard]:
    """The engines' cards, once this machine is known to have what they need."""
    if not engines:
        raise BadInput("there are no engines to report on; name at least one")
    cards = [read_engine_card(folder) for folder in engines]
    for folder, card in zip(engines, cards, strict=True):
        choose_backend(card.backend, card.precision)
        if card.model.onnx != cards[0].model.onnx:
            raise BadInput(f"{folder} and {engines[0]} are engines of different models; report on one model at a time")
    names = [folder.name for folder in engines]
    if len(set(names)) < len(names):
        raise BadInput(f"two engines' folders have the same name ({', '.join(names)}); rename one")
    return cards


def _usable(truth: GroundTruth) -> tuple[list[Image], list[tuple[str, str]]]:
    """The pictures that can be decoded, and every one left out with the reason."""
    usable, problems = [], list(truth.problems)
    for image in truth.images:
        if flaw := _flaw(image):
            problems.append((image.name, flaw))
        else:
            usable.append(image)
    if not usable:
        raise BadInput(f"none of the {len(problems)} pictures of {truth.path} can be read; check the folder")
    return usable, problems


def _flaw(image: Image) -> str:
    """Why a picture cannot be judged on; empty if it can."""
    try:
        with told_by_decoders() as complaints:
            height, width = load(image.path).shape[:2]
    except BadInput as error:
        return str(error)
    if complaints:
        return f"{image.path} is damaged ({complaints[0]}); get it again"
    if (width, height) != (image.width, image.height):
        return f"it has {width}x{height} pixels, the annotation file says {image.width}x{image.height}"
    return ""


def _evaluate(folder: Path, card: EngineCard, truth: GroundTruth, images: Sequence[Image]) -> _Evaluated:
    run = evaluate(folder, [image.path for image in images])
    ids = [image.id for image in images]
    stats: dict[str, float] = {}
    matched = None
    if not run.failure:
        results: list[dict[str, Any]] = []
        offset = card.model.numerics.pixel_offset
        for image, found in zip(images, run.detections, strict=True):
            results += found.to_coco_results(image.id, truth.category_ids, offset)
        try:
            stats = coco_statistics(truth, results, ids)
            matched = match(truth, results, ids)
        except BadInput as error:  # not of the data set, which was checked: of what the engine gave
            run = EngineRun([], None, str(error))
    result = EngineResult(
        name=folder.name,
        backend=card.backend,
        precision=card.precision,
        emulated=card.emulated,
        stats=stats,
        detections=sum(len(found) for found in run.detections),
        speed=run.speed,
        failure=run.failure,
    )
    return _Evaluated(folder, card, run, result, matched)


def _compare(reference: _Evaluated, candidate: _Evaluated, images: Sequence[Image], replicas: int) -> Comparison:
    ap = reference.result.stats.get("AP", 0.0)
    allowed = margin(candidate.card.precision, ap)
    if reference.matched is None or candidate.matched is None:
        return _failed(reference, candidate, allowed, replicas)
    bootstrap = paired_bootstrap(reference.matched, candidate.matched, replicas, SEED)
    verdict = _nothing_found(reference, candidate, len(images)) or judge(ap, bootstrap, allowed, len(images))
    return Comparison(
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
        agreement=agreement(reference.run.detections, candidate.run.detections),
        disagreements=disagreements(images, reference.run.detections, candidate.run.detections),
    )


def _nothing_found(reference: _Evaluated, candidate: _Evaluated, images: int) -> Judgement | None:
    """The verdict where one engine finds something and the other nothing at all."""
    for one, other in ((candidate, reference), (reference, candidate)):
        if one.result.detections == 0 and other.result.detections > 0:
            which = "" if one is candidate else "the reference "
            return Judgement("FAIL", 0, f"{which}{one.result.name} gave no detections at all on {images} images")
    return None


def _failed(reference: _Evaluated, candidate: _Evaluated, allowed: float, replicas: int) -> Comparison:
    reason = candidate.run.failure or f"the reference failed: {reference.run.failure}"
    return Comparison(
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


def _first_broken_stage(reference: _Evaluated, candidate: _Evaluated, images: Sequence[Image]) -> str:
    """On the pictures where the two differ most, or on the first ones if they differ nowhere."""
    worst = worst_images(reference.run.detections, candidate.run.detections, _STAGE_PICTURES)
    indices = [index for index, _ in worst] or range(min(_STAGE_PICTURES, len(images)))
    pictures = [images[index].path for index in indices]
    stage = in_child(_stage_of_first_difference, reference.folder, candidate.folder, pictures)
    return stage[0] if isinstance(stage, tuple) else f"not looked at: {stage}"


def _stage_of_first_difference(reference: Path, candidate: Path, pictures: Sequence[Path], alive: Alive) -> tuple[str]:
    """In a tuple, which tells a stage from the text of a failure."""
    return (first_difference(reference, candidate, pictures, lambda _: alive()),)


def _published(evaluated: Sequence[_Evaluated], *, is_val2017: bool) -> tuple[PublishedRow, ...]:
    """The published detectors; measured is only that very model on COCO val2017.

    The figures are of the first engine that is not Paddle's, computes in its own precision and did not fail.
    """
    able = [each for each in evaluated if not each.card.emulated and not each.run.failure]
    best = next((each for each in able if each.card.backend != "paddle"), evaluated[0])
    rows = []
    for entry, published in PUBLISHED:
        measured = entry.name == best.card.model.model and is_val2017 and best in able
        speed = best.result.speed
        rows.append(
            PublishedRow(
                row=entry.row,
                model=entry.name,
                published=published,
                measured_ap=best.result.stats["AP"] if measured else None,
                measured_fps=speed.images_per_second if measured and speed else None,
            )
        )
    return tuple(rows)
