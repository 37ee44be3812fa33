"""A parity report from engines and a data set."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from pssdet.console import Progress
from pssdet.engines.registry import require_to_open
from pssdet.errors import BadInput
from pssdet.files import sha256_of
from pssdet.machine import processor, usable_cores
from pssdet.models.card import EngineCard, ModelCard, installed_versions, read_engine_card
from pssdet.models.zoo import PUBLISHED, ZooEntry
from pssdet.validation.compare import compare
from pssdet.validation.evaluate import Evaluated, evaluate
from pssdet.validation.ground_truth import GroundTruth, Image, read_ground_truth, usable_images, with_labels
from pssdet.validation.parity_report.schema import Comparison, Identity, ModelIdentity, PublishedRow, Report

REPLICAS = 1000
VAL2017, VAL2017_IMAGES = "instances_val2017.json", 5000


#: Folders and cards of the engines of one model, in the order in which they were named.
_Engines: TypeAlias = list[tuple[Path, EngineCard]]


def assemble(
    engines: Sequence[Path],
    annotations: Path,
    images: Path,
    progress: Progress,
    replicas: int = REPLICAS,
    left_out: Sequence[str] = (),
) -> Report:
    """Evaluate every engine and compare each with the reference of its model: Paddle's, or its first.

    Args:
        engines: folders of engines, of one model or of several.
        annotations: COCO instances file whose categories are every model's labels, in any order.
        images: the folder of its pictures.
        replicas: of the bootstrap.
        left_out: what was not measured and why, for the report's warnings.

    Raises:
        BadInput: the data set cannot be used, or the engines are of two exports of one model.
        EnvironmentMissing: this machine cannot run one of the engines, or packages are missing.
    """
    groups = _by_model(engines)
    models = [group[0][1].model for group in groups]
    first, *others = models
    truth = read_ground_truth(annotations, images, first.labels, first.model)
    truths = [truth, *(with_labels(truth, model.labels, model.model) for model in others)]
    progress("checking the pictures")
    usable, problems = usable_images(truth)
    what = identity(models, truth, usable)  # now: files may change during a long evaluation
    evaluated: list[Evaluated] = []
    comparisons: list[Comparison] = []
    for group, labelled in zip(groups, truths, strict=True):
        results = _evaluate(group, labelled, usable, progress)
        progress(f"comparing engines of {results[0].result.model}")
        reference = next((each for each in results if each.card.backend == "paddle"), results[0])
        comparisons += [compare(reference, each, usable, replicas) for each in results if each is not reference]
        evaluated += results
    return Report(
        identity=what,
        engines=tuple(each.result for each in evaluated),
        comparisons=tuple(comparisons),
        published=_published(
            evaluated, is_val2017=annotations.name == VAL2017 and len(usable) == VAL2017_IMAGES
        ),
        warnings=(*left_out, *(f"left out: {name}: {reason}" for name, reason in problems)),
    )


def _by_model(engines: Sequence[Path]) -> list[_Engines]:
    if not engines:
        raise BadInput("there are no engines to report on; name at least one")
    groups: dict[str, _Engines] = {}
    for folder in engines:
        card = read_engine_card(folder)
        require_to_open(card, folder)
        group = groups.setdefault(card.model.model, [])
        for other, _ in group:
            if folder.name == other.name:
                raise BadInput(
                    f"{folder} and {other}, both of {card.model.model}, have the same folder name; rename one"
                )
        if group and card.model.onnx != group[0][1].model.onnx:
            raise BadInput(
                f"{folder} and {group[0][0]} are engines of different exports of {card.model.model}; "
                "build them from one export, or make a report of each"
            )
        group.append((folder, card))
    return list(groups.values())


def _evaluate(
    group: _Engines, truth: GroundTruth, images: Sequence[Image], progress: Progress
) -> list[Evaluated]:
    results = []
    for folder, card in group:
        progress(f"evaluating {folder.name} of {card.model.model} on {len(images)} pictures")
        results.append(evaluate(truth, images, folder, card))
    return results


def _published(evaluated: Sequence[Evaluated], *, is_val2017: bool) -> tuple[PublishedRow, ...]:
    """The published detectors, with figures measured on COCO val2017 of that very model, not one of its name.

    The figures are of its first engine that is neither emulated nor failed; Paddle's counts last.
    """
    rows = []
    for entry, published in PUBLISHED:
        of_model = [each for each in evaluated if _is_published(each.card.model, entry)]
        best = _representative(of_model) if is_val2017 else None
        speed = best.result.speed if best else None
        rows.append(
            PublishedRow(
                row=entry.row,
                model=entry.name,
                published=published,
                measured_ap=best.result.stats["AP"] if best else None,
                measured_fps=speed.images_per_second if speed else None,
            )
        )
    return tuple(rows)


def _is_published(card: ModelCard, entry: ZooEntry) -> bool:
    """Whether the card is of the zoo's own model and checkpoint, not of a changed copy of its name."""
    same = all(
        getattr(card, part) == getattr(entry, part)
        for part in ("architecture", "numerics", "preprocessing", "labels")
    )
    return same and card.model == entry.name and card.weights.kind == "checkpoint"


def _representative(evaluated: Sequence[Evaluated]) -> Evaluated | None:
    able = [each for each in evaluated if not each.card.emulated and not each.result.failure]
    return min(able, key=lambda each: each.card.backend == "paddle", default=None)


_PACKAGES = ("paddlepaddle", "onnx", "onnxruntime", "openvino", "numpy", "opencv-python-headless", "hotcoco")


def identity(models: Sequence[ModelCard], truth: GroundTruth, images: Sequence[Image]) -> Identity:
    """The identity, made now, of a report on engines of these models, evaluated on these images."""
    return Identity(
        models=tuple(ModelIdentity(each.model, each.weights.sha256, each.onnx.sha256) for each in models),
        annotations_sha256=truth.sha256,
        images=len(images),
        images_sha256=_sha256_of_images(images),
        commit=_commit(),
        command=_command(),
        machine=f"{processor()}, {usable_cores()} cores, {platform.system()} {platform.machine()}",
        versions=installed_versions(*_PACKAGES),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _command() -> str:
    """The command line; bytes of file names that are not UTF-8 are shown escaped."""
    words = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return words.encode("utf-8", "backslashreplace").decode()


def _sha256_of_images(images: Sequence[Image]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.name} {sha256_of(image.path)}\n".encode())
    return digest.hexdigest()


def _commit() -> str:
    """The commit of the repository that this code lies in; empty for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        if not _git(folder, "ls-files", Path(__file__).name):
            return ""
        changed = "-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
        return _git(folder, "rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
