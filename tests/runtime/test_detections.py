import json
from dataclasses import replace

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.models.labels import COCO, COCO_CATEGORY_IDS, numbered
from pssdet.runtime.detections import Detections


@pytest.fixture
def three():
    return Detections(
        boxes=np.float32([[10.5, 20.25, 110, 220], [0, 0, 5, 6], [1.1, 2.2, 3.3, 4.4]]),
        scores=np.float32([0.87, 0.5, 0.125]),
        labels=np.int32([0, 79, 11]),
        names=COCO,
        width=640,
        height=480,
        pixel_offset=0,
    )


@pytest.fixture
def nothing(three):
    return three.above(1)


def test_length_and_names(three, nothing):
    assert len(three) == 3
    assert len(nothing) == 0
    assert [three.name(index) for index in range(3)] == ["person", "toothbrush", "stop sign"]


def test_above(three):
    better = three.above(0.5)
    assert better.scores.tolist() == [np.float32(0.87)]
    assert (better.boxes.shape, better.boxes.dtype, better.labels.dtype) == ((1, 4), np.float32, np.int32)
    assert (better.width, better.height, better.names) == (640, 480, COCO)
    assert len(three) == 3
    assert len(three.above(0)) == 3


def test_paddle_rows(three, nothing):
    rows = three.to_paddle_rows()
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(
        rows[:2], np.float32([[0, 0.87, 10.5, 20.25, 110, 220], [79, 0.5, 0, 0, 5, 6]])
    )
    assert nothing.to_paddle_rows().shape == (0, 6)


def test_coco_results(three, nothing):
    results = three.to_coco_results(42, COCO_CATEGORY_IDS)
    assert [entry["category_id"] for entry in results] == [1, 90, 13]
    assert results[0] == {
        "image_id": 42,
        "category_id": 1,
        "bbox": [10.5, 20.25, 99.5, 199.75],
        "score": float(np.float32(0.87)),
    }
    assert json.loads(json.dumps(results)) == results
    assert nothing.to_coco_results(42, COCO_CATEGORY_IDS) == []


def test_coco_results_of_the_static_programs(three):
    """Whose x2 and y2 are the last pixel of a box, also after a threshold."""
    static = replace(three, pixel_offset=1).above(0.5)
    assert static.to_coco_results(1)[0]["bbox"] == [10.5, 20.25, 100.5, 200.75]


def test_cocos_ids_are_not_given_to_fewer_or_other_classes(three):
    assert three.to_coco_results(1) == three.to_coco_results(1, COCO_CATEGORY_IDS)
    for names in (COCO[:40], COCO[::-1], numbered(80)):
        other = replace(three.above(1), names=names)
        with pytest.raises(BadInput, match=rf"{len(names)} classes are not COCO's; give category_ids"):
            other.to_coco_results(1)


def test_every_class_needs_an_id(three):
    generic = replace(three, names=numbered(676), labels=np.int32([0, 79, 675]))
    with pytest.raises(BadInput, match="80 category ids are too few for 676 classes"):
        generic.to_coco_results(1, COCO_CATEGORY_IDS)
    assert [entry["category_id"] for entry in generic.to_coco_results(1, range(1, 677))] == [1, 80, 676]


def test_json(three, nothing):
    entries = three.to_json()
    assert entries[2] == {"label": 11, "name": "stop sign", "score": 0.125, "box": [1.1, 2.2, 3.3, 4.4]}
    decoded = json.loads(json.dumps(entries))
    np.testing.assert_array_equal(np.float32([entry["box"] for entry in decoded]), three.boxes)
    np.testing.assert_array_equal(np.float32([entry["score"] for entry in decoded]), three.scores)
    assert nothing.to_json() == []
