"""Random data sets for the statistics, and what pycocotools says of them."""

import contextlib
import copy
import io
from pathlib import Path

import numpy as np
import pytest
from parallel import shared_folder

from pssdet.validation.ground_truth import GroundTruth
from pssdet.validation.scenes.dataset import ensure_dataset

#: Of the data set that engines are judged on.
SCENES = 40


def _truth(images, annotations, categories):
    raw = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 600, "height": 600} for i in images],
        "annotations": [{**each, "id": number} for number, each in enumerate(annotations, start=1)],
        "categories": [{"id": i, "name": f"class {i}"} for i in categories],
    }
    return GroundTruth(Path("random.json"), "", (), tuple(categories), (), raw)


def _random_coco(seed, images=40, categories=(3, 1, 7), decimals=9, crowd=0.15):
    """Objects of all sizes, some crowds, empty images; detections that are off, double, wrong or absent."""
    draw = np.random.default_rng(seed)
    annotations, results = [], []
    image_ids = [7 * i + 2 for i in range(images)]
    for image_id in image_ids[3:]:
        for _ in range(draw.integers(0, 7)):
            size = np.exp(draw.uniform(2.3, 5.7, 2))
            box = np.concatenate((draw.uniform(0, 300, 2), size))
            category = int(draw.choice(categories))
            annotations.append(
                {
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": box.tolist(),
                    "area": float(size.prod() * draw.uniform(0.5, 1)),
                    "iscrowd": int(draw.random() < crowd),
                }
            )
            for _ in range(draw.integers(0, 4)):
                moved = box + draw.normal(0, 0.07, 4) * np.tile(size, 2)
                results.append(_result(draw, image_id, category, moved, decimals))
        for _ in range(draw.integers(0, 3)):
            box = draw.uniform(5, 250, 4)
            results.append(_result(draw, image_id, int(draw.choice(categories)), box, decimals))
    return _truth(image_ids, annotations, categories), results, image_ids


def _result(draw, image_id, category, box, decimals):
    score = float(np.round(draw.random(), decimals))
    return {"image_id": image_id, "category_id": category, "bbox": box.tolist(), "score": score}


def _pycocotools(truth, results, image_ids):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = copy.deepcopy(truth.raw)
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(copy.deepcopy(results)) if results else COCO(), "bbox")
        evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.fixture(scope="session")
def random_coco():
    return _random_coco


@pytest.fixture(scope="session")
def make_truth():
    return _truth


@pytest.fixture(scope="session")
def pycocotools_stats():
    return _pycocotools


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Annotation file and folder of a few held-out scenes."""
    folder = shared_folder(tmp_path_factory, "scenes", lambda folder: ensure_dataset(folder, "heldout", SCENES))
    return ensure_dataset(folder, "heldout", SCENES), folder
