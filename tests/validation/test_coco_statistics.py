"""The 12 statistics equal those of pycocotools."""

import sys

import numpy as np
import pytest

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.validation.average_precision import NAMES, coco_statistics


@pytest.mark.parametrize(("seed", "decimals"), [(0, 9), (1, 9), (2, 1), (3, 1)])
def test_equal_to_pycocotools(random_coco, pycocotools_stats, seed, decimals):
    truth, results, image_ids = random_coco(seed, decimals=decimals)
    stats = coco_statistics(truth, results, image_ids)
    assert tuple(stats) == NAMES
    assert min(stats.values()) > 0
    np.testing.assert_allclose(
        list(stats.values()), pycocotools_stats(truth, results, image_ids), rtol=0, atol=1e-12
    )


def test_some_of_the_images(random_coco, pycocotools_stats):
    truth, results, image_ids = random_coco(4)
    some = image_ids[::-3]
    stats = coco_statistics(truth, results, some)
    assert stats != coco_statistics(truth, results, image_ids)
    np.testing.assert_allclose(
        list(stats.values()), pycocotools_stats(truth, results, some), rtol=0, atol=1e-12
    )


def test_more_than_a_hundred_detections(random_coco, pycocotools_stats):
    truth, results, image_ids = random_coco(5)
    many = [{**each, "score": each["score"] / k} for each in results for k in range(1, 60)]
    stats = coco_statistics(truth, many, image_ids)
    np.testing.assert_allclose(
        list(stats.values()), pycocotools_stats(truth, many, image_ids), rtol=0, atol=1e-12
    )


def test_no_detections(random_coco):
    truth, _, image_ids = random_coco(0)
    assert set(coco_statistics(truth, [], image_ids).values()) == {0.0}


def test_nothing_to_find(make_truth):
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0}
    assert set(coco_statistics(make_truth([1], [], [1]), [], [1]).values()) == {-1.0}
    only_medium = coco_statistics(make_truth([1], [box], [1]), [], [1])
    assert only_medium == {name: -1.0 if name[-1] in "sl" else 0.0 for name in NAMES}


def test_says_nothing(random_coco, capfd):
    coco_statistics(*random_coco(0))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "fault",
    [
        {"score": float("nan")},
        {"bbox": [0, float("nan"), 1, 1]},
        {"bbox": [0, 0, float("inf"), 1]},
        {"image_id": -1},
        {"category_id": 2},
    ],
)
def test_broken_results(random_coco, fault):
    truth, results, image_ids = random_coco(0)
    with pytest.raises(BadInput, match="detection"):
        coco_statistics(truth, [*results, {**results[0], **fault}], image_ids)


@pytest.mark.parametrize("image_ids", [[], [2, 3]])
def test_images_that_are_not_there(random_coco, image_ids):
    with pytest.raises(BadInput, match="choose"):
        coco_statistics(*random_coco(0)[:2], image_ids)


def test_without_the_engine(random_coco, monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(EnvironmentMissing, match="hotcoco"):
        coco_statistics(*random_coco(0))
