"""The 12 COCO statistics of a detector's results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.runtime.detections import Detections
from pssdet.validation.ground_truth import GroundTruth, Image

#: AP and AR in the order in which COCOeval.summarize gives them; s, m, l: small, medium, large objects.
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

#: Entries of a COCO results file: image_id, category_id, bbox (x, y, width, height in pixels), score.
Results = Sequence[Mapping[str, Any]]


def coco_results(truth: GroundTruth, images: Sequence[Image], detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections of these images as entries of a COCO results file."""
    found = zip(images, detections, strict=True)
    return [entry for image, each in found for entry in each.to_coco_results(image.id, truth.category_ids)]


def coco_statistics(truth: GroundTruth, results: Results, image_ids: Sequence[int]) -> dict[str, float]:
    """Average precision and recall as COCO defines them (equal to pycocotools' COCOeval).

    Args:
        truth: the data set.
        results: detections; those of images that are not evaluated do not count.
        image_ids: the images to evaluate.

    Returns:
        The statistics by name, fractions 0..1; -1 where there is nothing to find.

    Raises:
        BadInput: as ``check_results``.
        EnvironmentMissing: the package that computes them is not installed.
    """
    try:
        import hotcoco
    except ImportError as error:
        raise EnvironmentMissing("COCO statistics need hotcoco; pip install 'hotcoco>=1.3,<2'") from error
    kept = check_results(truth, results, image_ids)
    # The evaluator prints its own table, which the report does not need.
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
        BadInput: there are no images to evaluate, an image or category is not of the data set, or
            a score or box is NaN or infinite.
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
