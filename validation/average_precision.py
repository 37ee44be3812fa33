"""Average precision as COCO defines it, and a paired bootstrap over images for differences in it.

A replica draws as many images as there are, with replacement, and computes both engines' AP
on the same draw. AP is no mean over images, so each replica computes it anew, but matches
nothing anew: an image drawn k times counts k times in the running sums of true and false
positives. (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13; AP
as in COCOeval: 10 IoU limits, 101 recalls, all areas, 100 detections per image and class.)
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.matching import box_ious
from pssdet.runtime.detections import Detections
from pssdet.validation.ground_truth import GroundTruth, Image

#: AP and AR in the order in which COCOeval.summarize gives them; s, m, l: small, medium, large objects.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

#: Entries of a COCO results file: image_id, category_id, bbox (x, y, width, height in pixels), score.
Results = Sequence[Mapping[str, Any]]


def coco_results(
    truth: GroundTruth, images: Sequence[Image], detections: Sequence[Detections]
) -> list[dict[str, Any]]:
    """Detections of these images as entries of a COCO results file."""
    found = zip(images, detections, strict=True)
    return [entry for image, each in found for entry in each.to_coco_results(image.id, truth.category_ids)]


def coco_statistics(truth: GroundTruth, results: Results, image_ids: Sequence[int]) -> dict[str, float]:
    """Average precision and recall by name, equal to pycocotools' COCOeval.

    Fractions, or -1 where there is nothing to find. Detections of images that are not evaluated do not count.

    Raises:
        BadInput: as ``check_results``.
        EnvironmentMissing: the package that computes them is not installed.
    """
    try:
        import hotcoco
    except ImportError as error:
        raise EnvironmentMissing("COCO statistics need hotcoco; pip install 'hotcoco>=1.3,<2'") from error
    kept = check_results(truth, results, image_ids)
    # The evaluator prints its own table.
    with contextlib.redirect_stdout(io.StringIO()):
        objects = hotcoco.COCO(truth.raw)
        evaluation = hotcoco.COCOeval(objects, objects.load_res(kept), "bbox")
        evaluation.params.img_ids = sorted(set(image_ids))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(NAMES, evaluation.stats, strict=True)}


def check_results(truth: GroundTruth, results: Results, image_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Check all results and return those of the images to evaluate, in their order.

    Raises:
        BadInput: no images, an image or category that is not of the data set, or a score or box not finite.
    """
    known = {image["id"] for image in truth.raw["images"]}
    # An empty list means "all images" to some evaluators.
    if not image_ids or not known.issuperset(image_ids):
        raise BadInput(f"{truth.path}: choose one or more of its images to evaluate")
    categories = set(truth.category_ids)
    for entry in results:
        if entry["image_id"] not in known or entry["category_id"] not in categories:
            raise BadInput(
                f"a detection is of image {entry['image_id']} and category {entry['category_id']}, "
                f"which are not both in {truth.path}"
            )
    numbers = np.array([(entry["score"], *entry["bbox"]) for entry in results], np.float64)
    broken = np.flatnonzero(~np.isfinite(numbers).reshape(len(results), 5).all(axis=1))
    if len(broken):
        first = results[int(broken[0])]["image_id"]
        raise BadInput(
            f"{len(broken)} of {len(results)} detections have a score or box that is not finite (NaN), "
            f"the first on image {first}"
        )
    wanted = set(image_ids)
    return [dict(entry) for entry in results if entry["image_id"] in wanted]


Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: An object of the annotation file or a detection of a COCO results file.
Entry = Mapping[str, Any]

_IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_MAX_DETECTIONS = 100
#: Objects and detections outside of COCO's area range "all" are ignored; pixels squared.
_MAX_AREA = 1e5**2
#: Cells of the largest array in use; arrays that fit a processor's cache are fastest.
_CELLS = 1 << 18
_MIN_CHUNK = 16


class _Class(NamedTuple):
    """One category's detections, best score first.

    Attributes:
        image: int64 [D], an index of ``Matched.image_ids``.
        found: bool [10, D], for each IoU limit: matched an object that counts.
        ignored: bool [10, D]: neither right nor wrong, e.g. on a crowd.
        objects: float64 [I], objects that count, for each image.
    """

    image: NDArray[np.int64]
    found: Flags
    ignored: Flags
    objects: Floats


@dataclass(frozen=True, eq=False)
class Matched:
    """An engine's detections after matching with the objects; what every replica reuses.

    ``image_ids`` ascend, in the order of the weights; ``classes`` has one entry for each category.
    """

    image_ids: tuple[int, ...]
    classes: tuple[_Class, ...]


class Bootstrap(NamedTuple):
    """AP of the candidate minus that of the reference, fractions, and its percentile intervals."""

    delta: float
    ci90: tuple[float, float]
    ci95: tuple[float, float]


def match(truth: GroundTruth, results: Results, image_ids: Sequence[int]) -> Matched:
    """Match every detection with an object as COCOeval does; raises as ``check_results``."""
    ids = tuple(sorted(set(image_ids)))
    detections = _by_category_and_image(check_results(truth, results, image_ids))
    objects = _by_category_and_image(truth.raw["annotations"])
    classes = []
    for category in truth.category_ids:
        keys = [(category, image_id) for image_id in ids]
        classes.append(
            _match_class([objects.get(key, []) for key in keys], [detections.get(key, []) for key in keys])
        )
    return Matched(ids, tuple(classes))


def ap(matched: Matched, weights: NDArray[Any] | None = None) -> float:
    """AP, 0..1, where image i counts ``weights[i]`` times (default: once); -1 if there are no objects.

    Equal to the AP of a data set with that many copies of each image next to one another, as
    long as no two detections of a category share a score (COCOeval orders those by image).
    """
    once = np.ones(len(matched.image_ids)) if weights is None else np.asarray(weights, np.float64)
    return float(_replica_aps(matched, once[:, None])[0])


def paired_bootstrap(reference: Matched, candidate: Matched, replicas: int = 1000, seed: int = 0) -> Bootstrap:
    """The difference in AP with its intervals; the same numbers for the same seed.

    A replica without a single object says nothing and counts as no difference.
    """
    if reference.image_ids != candidate.image_ids or replicas < 2:
        raise ValueError("a paired bootstrap takes the same images for both and at least two replicas")
    images = len(reference.image_ids)
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = (np.bincount(generator.integers(images, size=images), minlength=images) for _ in range(replicas))
    weights = np.stack([draw.astype(np.float32) for draw in drawn], axis=1)
    deltas = _replica_aps(candidate, weights) - _replica_aps(reference, weights)
    low95, low90, high90, high95 = np.percentile(deltas, (2.5, 5, 95, 97.5)).tolist()
    return Bootstrap(ap(candidate) - ap(reference), (low90, high90), (low95, high95))


def _by_category_and_image(entries: Sequence[Entry]) -> dict[tuple[int, int], list[Entry]]:
    groups: dict[tuple[int, int], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry["category_id"], entry["image_id"]), []).append(entry)
    return groups


def _match_class(objects: Sequence[list[Entry]], detections: Sequence[list[Entry]]) -> _Class:
    counted = np.array([np.count_nonzero(~_ignore(here)) for here in objects], np.float64)
    images = [index for index, found in enumerate(detections) if found]
    parts = [_match_image(objects[index], _best(detections[index])) for index in images]
    if not parts:
        nothing = np.zeros((len(_IOUS), 0), np.bool_)
        return _Class(np.zeros(0, np.int64), nothing, nothing, counted)
    scores, found, ignored = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    image = np.repeat(images, [len(part[0]) for part in parts])
    # A stable sort of images in ascending order: equal scores rank as COCOeval ranks them.
    order = np.argsort(-scores, kind="stable")
    return _Class(image[order], found[:, order], ignored[:, order], counted)


def _best(detections: Sequence[Entry]) -> list[Entry]:
    return sorted(detections, key=lambda entry: -float(entry["score"]))[:_MAX_DETECTIONS]


def _ignore(objects: Sequence[Entry]) -> Flags:
    return np.array([each["iscrowd"] or each["area"] > _MAX_AREA for each in objects], np.bool_)


def _match_image(objects: Sequence[Entry], detections: Sequence[Entry]) -> tuple[Floats, Flags, Flags]:
    """Scores [D], found and ignored [10, D] of one image and category; detections best first.

    Each takes the free object it overlaps most (the last of equals), an ignored one only if none
    that counts will do. Crowds are never used up. ``greedy_pairs`` knows no such preferences.
    """
    boxes = np.array([each["bbox"] for each in detections], np.float64)
    scores = np.array([each["score"] for each in detections], np.float64)
    areas = boxes[:, 2] * boxes[:, 3]
    taken = np.zeros((len(_IOUS), len(boxes)), np.bool_)
    ignored = np.zeros_like(taken)
    if objects:
        crowd = np.array([each["iscrowd"] for each in objects], np.bool_)
        ignore = _ignore(objects)
        theirs = np.array([each["bbox"] for each in objects], np.float64)
        ious = box_ious(
            _corners(boxes), _corners(theirs), areas=(areas, theirs[:, 2] * theirs[:, 3]), crowd=crowd
        )
        free = np.ones((len(_IOUS), len(objects)), np.bool_)
        for index in np.flatnonzero(ious.max(axis=1) >= _IOUS[0]):
            pool = (free | crowd) & (ious[index] >= _IOUS[:, None])
            taken[:, index] = pool.any(axis=1)
            pool &= ~(ignore & (pool & ~ignore).any(axis=1, keepdims=True))
            partner = len(objects) - 1 - np.where(pool, ious[index], -1)[:, ::-1].argmax(axis=1)
            ignored[:, index] = taken[:, index] & ignore[partner]
            free[taken[:, index], partner[taken[:, index]]] = False
    found = taken & ~ignored
    ignored |= ~taken & ((areas < 0) | (areas > _MAX_AREA))
    return scores, found, ignored


def _corners(boxes: Floats) -> Floats:
    """x1, y1, x2, y2 of boxes x, y, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _replica_aps(matched: Matched, weights: NDArray[np.floating[Any]]) -> Floats:
    """AP [R] of every column of ``weights`` [I, R]: the mean over the categories with objects."""
    total = np.zeros(weights.shape[1])
    categories = np.zeros(weights.shape[1])
    for each in matched.classes:
        # A few replicas at a time bound the memory: many detections, few replicas.
        step = max(_MIN_CHUNK, _CELLS // (len(each.image) + 1))
        for start in range(0, weights.shape[1], step):
            part = slice(start, start + step)
            chunk = weights[:, part].astype(np.float64)
            objects = each.objects @ chunk
            total[part] += np.where(objects > 0, _class_aps(each, chunk[each.image], objects), 0)
            categories[part] += objects > 0
    return np.divide(total, categories, out=np.full_like(total, -1), where=categories > 0)


def _class_aps(matches: _Class, weights: Floats, objects: Floats) -> Floats:
    """AP [R] of one category; weights [D, R] of its detections, objects [R] to find."""
    seen = weights.cumsum(axis=0)
    total = np.zeros(len(objects))
    for found, ignored in zip(matches.found, matches.ignored, strict=True):
        # Precision peaks and recall grows at true positives alone: only those are computed.
        hits = np.flatnonzero(found)
        counted = seen[hits]
        if ignored.any():
            counted -= (weights * ignored[:, None]).cumsum(axis=0)[hits]
        right = weights[hits].cumsum(axis=0)
        precision = right / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        # Recalls of the 101 that are reached with each true positive have its envelope's precision.
        reached = np.searchsorted(_RECALLS, right / np.maximum(objects, 1), side="right")
        total += (envelope * np.diff(reached, axis=0, prepend=0)).sum(axis=0)
    return total / (len(_RECALLS) * len(_IOUS))
