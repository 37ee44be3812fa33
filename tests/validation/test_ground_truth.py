"""The annotation file: read whole, or refused with a reason."""

import copy
import hashlib
import json

import pytest

from pssdet.errors import BadInput
from pssdet.validation.ground_truth import read_ground_truth, with_labels

LABELS = ("cat", "dog")
GOOD = {
    "info": {"anything": None},
    "images": [
        {"id": 5, "file_name": "b.jpg", "width": 20, "height": 10, "license": 1},
        {"id": 2, "file_name": "deep/a.jpg", "width": 8, "height": 9},
        {"id": 3, "file_name": "gone.jpg", "width": 8, "height": 9},
    ],
    "annotations": [
        {"id": 0, "image_id": 5, "category_id": 4, "bbox": [1, 2, 3, 4], "area": 11.5, "iscrowd": 1},
        {
            "id": 0,
            "image_id": 2,
            "category_id": 9,
            "bbox": [1, 2, 3, 4.5],
            "area": 13,
            "segmentation": [[1, 2]],
        },
    ],
    "categories": [{"id": 4, "name": "dog"}, {"id": 9, "name": "cat", "supercategory": "animal"}],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images/deep").mkdir(parents=True)
    (tmp_path / "images/b.jpg").touch()
    (tmp_path / "images/deep/a.jpg").touch()
    return tmp_path


def read(folder, content):
    path = folder / "instances.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_ground_truth(path, folder / "images", LABELS)


def test_good_file(folder):
    truth = read(folder, GOOD)
    assert [(image.id, image.name, image.width, image.height) for image in truth.images] == [
        (5, "b.jpg", 20, 10),
        (2, "deep/a.jpg", 8, 9),
    ]
    assert truth.images[1].path == folder / "images/deep/a.jpg"
    assert truth.category_ids == (9, 4)
    assert truth.sha256 == hashlib.sha256(truth.path.read_bytes()).hexdigest()


def test_labels_in_another_order(folder):
    truth = read(folder, GOOD)
    turned = with_labels(truth, ("dog", "cat"))
    assert turned.category_ids == (4, 9)
    assert turned._replace(category_ids=truth.category_ids) == truth


def test_labels_that_are_not_the_categories_are_named_with_the_detector(folder):
    with pytest.raises(
        BadInput, match=r"not mini's classes: the file lacks 'cow'; mini does not know 'cat'; export again with"
    ):
        with_labels(read(folder, GOOD), ("dog", "cow"), "mini")


def test_a_missing_picture_is_reported(folder):
    ((name, reason),) = read(folder, GOOD).problems
    assert name == "gone.jpg"
    assert "no such file" in reason


def test_raw_is_what_evaluators_need(folder):
    annotations = read(folder, GOOD).raw["annotations"]
    assert [each["id"] for each in annotations] == [1, 2]
    assert [each["iscrowd"] for each in annotations] == [1, 0]
    assert annotations[1]["bbox"] == [1, 2, 3, 4.5]


def test_a_name_too_long_for_a_file_is_a_missing_picture(folder):
    problems = read(folder, changed(images__2__file_name="x" * 5000)).problems
    assert len(problems) == 1


def changed(**changes):
    content = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        target = content
        for step in parents:
            target = target[step]
        target[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a COCO instances file"),
        (b"\xff\xfe", "not a COCO instances file"),
        (b"[]", "not a COCO instances file"),
        (b"[" * 100_000, "not a COCO instances file"),
        (json.dumps(GOOD).replace("b.jpg", "\\ud800.jpg").encode(), "not a"),
        ({key: value for key, value in GOOD.items() if key != "categories"}, "categories"),
        (changed(images__0={"id": 1, "file_name": "b.jpg"}), "width"),
        (changed(images__0__width=0), "width"),
        (changed(annotations__0__bbox=[1, 2, 3]), "bbox"),
        (changed(annotations__0__bbox=[1, 2, -3, 4]), "bbox"),
        (changed(annotations__0__area=float("nan")), "not a COCO instances file"),
        (changed(images=[], annotations=[]), "no images"),
        (changed(images__1__id=5), "more than one image id 5"),
        (changed(annotations__1__image_id=77), r"annotations\[1\] is of image 77"),
        (changed(annotations__1__category_id=77), r"annotations\[1\] is of category 77"),
        (changed(categories__0__name="cow"), "lacks 'dog'; the detector does not know 'cow'"),
        (changed(categories__0__name="cat"), "more than one category name 'cat'"),
        (changed(categories__0__id=9), "more than one category id 9"),
        (changed(images__0__file_name="../b.jpg"), "not a file inside"),
        (changed(images__0__file_name="deep/../../b.jpg"), "not a file inside"),
        (changed(images__0__file_name="/etc/hosts"), "not a file inside"),
        (changed(images__0__file_name="..\\b.jpg"), "not a file inside"),
        (changed(images__0__file_name="C:\\b.jpg"), "not a file inside"),
        (changed(images__0__file_name="a\0.jpg"), "not a file inside"),
        (changed(images__0__file_name=""), "not a file inside"),
    ],
)
def test_bad_file(folder, content, message):
    with pytest.raises(BadInput, match=message):
        read(folder, content)


def test_only_the_first_few_categories_are_named(folder):
    content = changed(categories=[{"id": i, "name": f"n{i}"} for i in range(6)], annotations=[])
    with pytest.raises(BadInput, match="'n0', 'n1', 'n2' and 3 more"):
        read(folder, content)


def test_no_file_and_no_pictures(folder, tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_ground_truth(tmp_path / "absent.json", folder / "images", LABELS)
    with pytest.raises(BadInput, match="cannot be read"):
        read_ground_truth(tmp_path, folder / "images", LABELS)
    read(folder, GOOD)
    with pytest.raises(BadInput, match="none of the 3 images"):
        read_ground_truth(folder / "instances.json", folder / "elsewhere", LABELS)
