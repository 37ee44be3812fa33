"""AP with weights equals pycocotools' on the weighted data set; the interval is a paired one."""

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.validation import average_precision
from pssdet.validation.average_precision import ap, match, paired_bootstrap
from pssdet.validation.compare import judge, margin


@pytest.mark.parametrize(("seed", "decimals"), [(0, 9), (1, 9), (2, 1), (3, 1), (4, 0)])
def test_ap_equals_pycocotools(random_coco, pycocotools_stats, seed, decimals):
    truth, results, image_ids = random_coco(seed, decimals=decimals)
    expected = pycocotools_stats(truth, results, image_ids)[0]
    assert 0 < expected < 1
    assert ap(match(truth, results, image_ids)) == pytest.approx(expected, rel=0, abs=1e-12)


def test_hard_cases_equal_pycocotools(random_coco, make_truth, pycocotools_stats):
    """Equal boxes, empty boxes, boxes beyond the largest area, more than 100 detections, mostly crowds."""
    truth, results, image_ids = random_coco(6, crowd=0.7)
    objects = [
        {**each, "area": each["area"] * (1e8 if i % 9 == 0 else 1)} for i, each in enumerate(_objects(truth))
    ]
    truth = make_truth(image_ids, objects + _objects(truth)[:20], truth.category_ids)
    many = results + [{**each, "score": each["score"] / k} for each in results for k in range(2, 30)]
    many += [
        {**results[0], "bbox": box, "score": 2.0} for box in ([5, 5, 0, 9], [0, 0, 2e5, 2e5], [9, 9, -3, 4])
    ]
    expected = pycocotools_stats(truth, many, image_ids)[0]
    assert ap(match(truth, many, image_ids)) == pytest.approx(expected, rel=0, abs=1e-12)


def test_of_equal_overlaps_the_last_object_is_taken(make_truth, pycocotools_stats):
    boxes = ([0, 0, 10, 10], [4, 0, 10, 10])
    objects = [{"image_id": 1, "category_id": 1, "bbox": box, "area": 100, "iscrowd": 0} for box in boxes]
    between, second = ([2, 0, 10, 10], 0.9), ([4, 0, 10, 10], 0.8)
    results = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in (between, second)
    ]
    truth = make_truth([1], objects, [1])
    expected = pycocotools_stats(truth, results, [1])[0]
    assert ap(match(truth, results, [1])) == pytest.approx(expected, rel=0, abs=1e-12)


def test_nothing_found_and_nothing_to_find(random_coco, make_truth):
    truth, results, image_ids = random_coco(0)
    assert ap(match(truth, [], image_ids)) == 0
    empty = make_truth(image_ids, [], truth.category_ids)
    assert ap(match(empty, results, image_ids)) == -1
    without_class = make_truth(image_ids, [], truth.category_ids)
    assert paired_bootstrap(match(empty, results, image_ids), match(without_class, [], image_ids), 5).delta == 0


def test_weights_are_copies(random_coco, make_truth, pycocotools_stats):
    truth, results, image_ids = random_coco(7)
    weights = np.random.default_rng(0).integers(0, 4, len(image_ids))
    # Copies of an image get successive ids.
    copies = {i: [100 * i + k for k in range(n)] for i, n in zip(image_ids, weights, strict=True)}
    objects, repeated = (
        [{**each, "image_id": new} for each in entries for new in copies[each["image_id"]]]
        for entries in (_objects(truth), results)
    )
    ids = [new for group in copies.values() for new in group]
    larger = make_truth(ids, objects, truth.category_ids)
    expected = pycocotools_stats(larger, repeated, ids)[0]
    weighted = ap(match(truth, results, image_ids), weights)
    assert weighted == pytest.approx(expected, rel=0, abs=1e-12)
    assert weighted != pytest.approx(ap(match(truth, results, image_ids)), abs=1e-6)


def test_identical_engines(random_coco):
    matched = match(*random_coco(0))
    found = paired_bootstrap(matched, match(*random_coco(0)), 50)
    assert found == (0, (0, 0), (0, 0))
    assert judge(ap(matched), found, margin("fp32", ap(matched)), 40).verdict == "PASS"


def test_same_figures_whatever_the_chunks(random_coco, monkeypatch):
    truth, results, image_ids = random_coco(1)
    pair = match(truth, results, image_ids), match(truth, results[::2], image_ids)
    first = paired_bootstrap(*pair, 100, seed=3)
    monkeypatch.setattr(average_precision, "_CELLS", 1)
    assert paired_bootstrap(*pair, 100, seed=3) == first
    assert paired_bootstrap(*pair, 100, seed=4) != first


def test_replicas_are_draws_of_images(random_coco):
    truth, results, image_ids = random_coco(1)
    pair = match(truth, results, image_ids), match(truth, results[::2], image_ids)
    generator, n = np.random.Generator(np.random.PCG64(5)), len(image_ids)
    deltas = []
    for _ in range(40):
        weights = np.bincount(generator.integers(n, size=n), minlength=n)
        deltas.append(ap(pair[1], weights) - ap(pair[0], weights))
    found = paired_bootstrap(*pair, 40, seed=5)
    assert found.ci90 == pytest.approx(tuple(np.percentile(deltas, (5, 95))), abs=1e-12)
    assert found.ci95 == pytest.approx(tuple(np.percentile(deltas, (2.5, 97.5))), abs=1e-12)


def test_lost_detections_fail(random_coco):
    truth, results, image_ids = random_coco(2, images=120)
    reference = match(truth, results, image_ids)
    candidate = match(truth, [each for each in results if each["score"] < 0.8], image_ids)
    found = paired_bootstrap(reference, candidate, 200)
    assert found.ci95[1] < 0
    verdict, _, reason = judge(ap(reference), found, margin("int8", ap(reference)), 120)
    assert verdict == "FAIL"
    assert f"{100 * found.delta:+.3f}" in reason


def test_scaled_scores_do_not_show_in_ap(random_coco):
    truth, results, image_ids = random_coco(0)
    scaled = [{**each, "score": 0.98 * each["score"]} for each in results]
    found = paired_bootstrap(match(truth, results, image_ids), match(truth, scaled, image_ids), 50)
    assert found == (0, (0, 0), (0, 0))


def test_wrong_use(random_coco):
    truth, results, image_ids = random_coco(0)
    matched = match(truth, results, image_ids)
    with pytest.raises(ValueError, match="same images"):
        paired_bootstrap(matched, match(truth, results, image_ids[1:]))
    with pytest.raises(BadInput, match="NaN"):
        match(truth, [{**results[0], "score": float("nan")}], image_ids)


def _objects(truth):
    return [{key: value for key, value in each.items() if key != "id"} for each in truth.raw["annotations"]]
