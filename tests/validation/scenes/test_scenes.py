"""The rendered scenes: the same every time, annotated by what is visible, a COCO data set."""

import hashlib
import json
import os

import numpy as np
import pytest

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.labels import SHAPES
from pssdet.models.preprocess import prepare
from pssdet.validation.scenes.dataset import ANNOTATIONS, VERSION, ensure_dataset, render_scene, write_dataset
from pssdet.validation.scenes.layout import (
    CLASSES,
    MIN_VISIBLE,
    SIZES,
    SPLITS,
    Deformation,
    box_of,
    lay_out,
)

HELDOUT = SPLITS["heldout"]


@pytest.fixture(scope="module")
def layouts():
    return [lay_out(HELDOUT, index) for index in range(300)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_dataset(folder, "heldout", 12)
    return folder


def test_scene_depends_on_its_two_numbers_alone():
    first = render_scene(HELDOUT, 7)
    np.random.seed(1)  # noqa: NPY002 - the global state that must not matter
    render_scene(HELDOUT, 3)
    again = render_scene(HELDOUT, 7)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = render_scene(HELDOUT, 8)
    assert first.picture.shape != other.picture.shape or (first.picture != other.picture).any()


def test_layouts_are_those_the_bundled_detectors_were_trained_and_judged_on(layouts):
    """A change of scenes makes the published AP another figure: raise dataset.VERSION, train again."""
    content = b"".join(
        layout.owner.tobytes() + bytes(shape.label for shape in layout.shapes) for layout in layouts[:20]
    )
    assert hashlib.sha256(content).hexdigest()[:16] == "3c73f82d909b573d"


def test_splits_have_no_scene_in_common():
    hashes = [{lay_out(seed, index).owner.tobytes() for index in range(40)} for seed in SPLITS.values()]
    shared = hashes[0] & hashes[1]
    assert all(set(np.frombuffer(owner, np.int16)) == {-1} for owner in shared)  # empty scenes look alike here


def test_boxes_and_areas_are_those_of_the_visible_pixels():
    for index in range(15):
        scene, layout = render_scene(HELDOUT, index), lay_out(HELDOUT, index)
        assert len(scene.boxes) == len(scene.labels) == len(layout.shapes)
        for number, (box, area) in enumerate(zip(scene.boxes, scene.areas, strict=True)):
            ys, xs = np.nonzero(layout.owner == number)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert area == len(ys)


def test_owner_is_the_nearest_shape_that_covers_the_pixel(layouts):
    for layout in layouts[:30]:
        expected = np.full((layout.height, layout.width), -1)
        for number, shape in enumerate(layout.shapes):
            top, left = shape.corner
            for y, x in np.argwhere(shape.coverage >= 0.5):
                expected[top + y, left + x] = number
        assert np.array_equal(layout.owner, expected)


def test_scenes_vary_as_promised(layouts):
    shapes = [shape for layout in layouts for shape in layout.shapes]
    counts = np.array([len(layout.shapes) for layout in layouts])
    shares = [
        (layout.owner == n).sum() / shape.whole for layout in layouts for n, shape in enumerate(layout.shapes)
    ]
    assert 0.02 < (counts == 0).mean() < 0.2  # empty
    assert (counts > 8).mean() > 0.02  # crowded
    assert {(layout.height, layout.width) for layout in layouts} == set(SIZES)
    assert min(np.bincount([shape.label for shape in shapes], minlength=len(SHAPES))) > 0.08 * len(shapes)
    assert min(shares) >= MIN_VISIBLE
    assert np.mean(np.array(shares) < 0.8) > 0.1  # occluded or cut off


def test_boxes_are_small_and_large():
    boxes = np.concatenate([render_scene(HELDOUT, index).boxes for index in range(60)])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert longer.min() < 32
    assert longer.max() > 150
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 8


def _inside(name, deformation=Deformation(1.0, 0.0, 0.0, 0.0), limit=1.2, points=961):  # noqa: B008 - immutable
    """Coordinates (x, y) of a fine grid, and which of them the shape covers."""
    axis = np.linspace(-limit, limit, points, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y, CLASSES[name].outline(*deformation.undo(x, y)) < 0


@pytest.mark.parametrize("name", SHAPES)
def test_shape_fits_its_circle_and_touches_it(name):
    x, y, inside = _inside(name)
    assert np.hypot(x, y)[inside].max() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("warm circle", np.pi),
        ("triangle", 0.75 * 3**0.5),
        ("square", 2.0),
        ("cool star", 5 * 0.42 * np.sin(np.pi / 5)),
        ("bar", 4 * 0.3 * (1 - 0.3**2) ** 0.5),
    ],
)
def test_area_of_a_shape_is_the_textbooks(name, area):
    _, _, inside = _inside(name)
    assert inside.mean() * 2.4**2 == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize("name", SHAPES)
def test_deformed_shape_keeps_its_area_but_for_the_squeeze_and_stays_within_reach(name):
    draw = np.random.RandomState(0)
    plain = _inside(name)[2].mean() * 2.4**2
    for _ in range(20):
        deformation = Deformation(draw.uniform(0.75, 1), *draw.uniform(-1, 1, 2), draw.uniform(0, 6))
        x, y, inside = _inside(name, deformation, limit=3.5, points=701)
        assert np.hypot(x, y)[inside].max() <= deformation.reach + 0.01
        assert inside.mean() * 7**2 == pytest.approx(plain * deformation.squeeze, rel=0.05)


def _mean_colour(scene, layout, number):
    return scene.picture[layout.owner == number].mean(axis=0)


def test_hue_alone_tells_the_circles_and_the_stars_apart():
    """Warm shapes are redder than blue, cool ones bluer than red, whatever the light; layouts do not tell."""
    seen = {"warm": [], "cool": []}
    for index in range(60):
        scene, layout = render_scene(HELDOUT, index), lay_out(HELDOUT, index)
        for number, shape in enumerate(layout.shapes):
            warmth = SHAPES[shape.label].split()[0]
            if warmth in seen:
                red, _, blue = _mean_colour(scene, layout, number)
                seen[warmth].append(red - blue)
    assert min(map(len, seen.values())) > 20
    assert min(seen["warm"]) > 20
    assert max(seen["cool"]) < -20
    assert CLASSES["warm circle"].outline is CLASSES["cool circle"].outline
    assert CLASSES["warm star"].outline is CLASSES["cool star"].outline


def test_bend_alone_tells_an_arc_from_a_bar():
    bar, arc = CLASSES["bar"], CLASSES["arc"]
    assert (bar.outline, bar.hues) == (arc.outline, arc.hues)
    assert bar.bends[1] + 0.4 < arc.bends[0]


def test_dataset_loads_with_pycocotools(dataset):
    coco = pytest.importorskip("pycocotools.coco").COCO(str(dataset / ANNOTATIONS))
    assert sorted(coco.getCatIds()) == list(range(1, 9))
    assert [each["name"] for each in coco.loadCats(range(1, 9))] == list(SHAPES)
    assert len(coco.getImgIds()) == 12
    for image in coco.loadImgs(coco.getImgIds()):
        assert load(dataset / image["file_name"]).shape == (image["height"], image["width"], 3)
        for each in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            x, y, width, height = each["bbox"]
            assert 0 <= x < x + width <= image["width"]
            assert 0 <= y < y + height <= image["height"]
            assert 0 < each["area"] <= width * height
            assert each["iscrowd"] == 0
    identifiers = [each["id"] for each in coco.dataset["annotations"]]
    assert identifiers == list(range(1, len(identifiers) + 1))


def test_annotations_are_those_of_the_scenes(dataset):
    content = json.loads((dataset / ANNOTATIONS).read_text())
    for index in range(12):
        scene = render_scene(HELDOUT, index)
        rows = [each for each in content["annotations"] if each["image_id"] == index + 1]
        corners = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)]
        assert corners == scene.boxes.tolist()
        assert [row["category_id"] - 1 for row in rows] == scene.labels.tolist()
        picture = load(dataset / f"{index:06d}.jpg").astype(int)
        assert np.abs(picture - scene.picture).mean() < 8  # the encoder takes noise, not content


def test_dataset_has_the_same_bytes_every_time(dataset, tmp_path):
    write_dataset(tmp_path, "heldout", 4)
    for name in ("000000.jpg", "000003.jpg"):
        assert (tmp_path / name).read_bytes() == (dataset / name).read_bytes()
    first = (tmp_path / ANNOTATIONS).read_bytes()
    write_dataset(tmp_path, "heldout", 4)
    assert (tmp_path / ANNOTATIONS).read_bytes() == first


def test_existing_dataset_is_kept_and_another_one_replaced(tmp_path):
    done = []
    ensure_dataset(tmp_path, "heldout", 2, done.append)
    ensure_dataset(tmp_path, "heldout", 2, done.append)
    assert done == [1, 2]
    ensure_dataset(tmp_path, "train", 1, done.append)
    (tmp_path / ANNOTATIONS).write_text("{")
    ensure_dataset(tmp_path, "train", 1, done.append)
    assert done == [1, 2, 1, 1]
    assert json.loads((tmp_path / ANNOTATIONS).read_text())["info"]["split"] == "train"


def test_interrupted_rendering_leaves_nothing(tmp_path):
    def stop(number):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "scenes", "heldout", 5, stop)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize(("split", "count"), [("test", 3), ("train", 0)])
def test_impossible_dataset_is_refused(split, count, tmp_path):
    with pytest.raises(BadInput, match="train, heldout"):
        write_dataset(tmp_path, split, count)


def test_scenes_of_every_size_pass_the_reader():
    from pssdet.models.zoo import MINI_PREPROCESSING

    padded = {prepare(np.zeros((*size, 3), np.uint8), MINI_PREPROCESSING).image.shape[1:] for size in SIZES}
    assert padded == {(192, 256), (256, 192), (256, 256), (224, 256)}


def test_box_of_nothing_is_empty():
    assert box_of(np.zeros((3, 3), bool)) == (0, 0, 0, 0)
    assert VERSION == 2
