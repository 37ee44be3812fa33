"""Scenes to train and judge detectors on: rendered JPEG files, with ``instances.json``, a COCO instances file.

A scene is a function of two numbers, its split's seed and its index. Its layout comes from one stream of random
numbers (``layout.py``); colours and textures come from a second stream and pass through OpenCV, whose versions
may round or encode a pixel differently: textured ground, shaded shapes, light, lens and sensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.files import staged_folder
from pssdet.images import encode_jpeg
from pssdet.models.labels import SHAPES
from pssdet.validation.scenes.layout import SPLITS, Floats, PlacedShape, SceneLayout, box_of, lay_out

#: Normal deviates for the 256 values of a random byte: much faster than drawing them.
_DEVIATES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


class Scene(NamedTuple):
    """A picture and its annotations.

    Attributes:
        picture: uint8 RGB [H, W, 3].
        boxes: int32 [B, 4], x1 y1 x2 y2 of each shape's visible part; x2 and y2 are past the last pixel.
        labels: int32 [B], 0-based.
        areas: int32 [B], visible pixels.
    """

    picture: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    labels: NDArray[np.int32]
    areas: NDArray[np.int32]


def render_scene(seed: int, index: int) -> Scene:
    """Scene number ``index`` of the split with that seed."""
    layout = lay_out(seed, index)
    masks = [layout.owner == number for number in range(len(layout.shapes))]
    areas = np.array([mask.sum() for mask in masks], np.int32)
    boxes = np.array([box_of(mask) for mask in masks], np.int32).reshape(-1, 4)
    labels = np.array([shape.label for shape in layout.shapes], np.int32)
    return Scene(_paint(layout, seed, index), boxes, labels, areas)


def _paint(layout: SceneLayout, seed: int, index: int) -> NDArray[np.uint8]:
    """The picture of a scene, uint8 RGB [H, W, 3]."""
    rng = np.random.RandomState([seed, index, 1])
    canvas = _ground(rng, layout.height, layout.width)
    _draw_strokes(rng, canvas)
    for shape in layout.shapes:
        _draw_shape(rng, canvas, shape)
    canvas *= _light(rng, layout.height, layout.width)[..., None]
    blur = rng.uniform(0.0, 0.9)
    if blur > 0.3:
        canvas = cv2.GaussianBlur(canvas, (5, 5), blur)
    canvas += rng.uniform(2.0, 9.0) * _deviates(rng, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _deviates(rng: np.random.RandomState, shape: tuple[int, ...]) -> Floats:
    count = int(np.prod(shape))
    return _DEVIATES[np.frombuffer(rng.bytes(count), np.uint8)].reshape(shape)


def _fractal(rng: np.random.RandomState, height: int, width: int) -> Floats:
    """Fractal noise float32 [height, width], about -1..1: octaves of smooth noise, each finer and weaker."""
    total = np.zeros((height, width), np.float32)
    roughness = rng.uniform(0.45, 0.75)
    for octave in range(6):
        cells = 2 << octave
        grid = _deviates(rng, (cells + 1, cells + 1))
        smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.float32(0.6 * roughness**octave) * smooth
    return total


def _ground(rng: np.random.RandomState, height: int, width: int) -> Floats:
    colours = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    # Half way to grey: few photographs have a ground as bright as their subjects.
    first, second = 0.5 * (colours + colours.mean(axis=1, keepdims=True))
    mix = np.clip(0.5 + 0.4 * _fractal(rng, height, width), 0, 1)[..., None]
    canvas = first + mix * (second - first)
    canvas += np.float32(rng.uniform(4, 22)) * _fractal(rng, height, width)[..., None]
    return np.asarray(canvas, np.float32)


def _draw_strokes(rng: np.random.RandomState, canvas: Floats) -> None:
    height, width = canvas.shape[:2]
    for _ in range(rng.randint(0, 6)):
        points = np.cumsum(rng.uniform(-0.3, 0.3, (5, 2)), axis=0) + rng.uniform(0, 1, 2)
        corners = (points * (width, height) * 16).astype(np.int32)
        colour = tuple(float(c) for c in rng.uniform(30, 225, 3))
        cv2.polylines(canvas, [corners], False, colour, int(rng.randint(1, 5)), cv2.LINE_8, shift=4)  # noqa: FBT003


def _draw_shape(rng: np.random.RandomState, canvas: Floats, shape: PlacedShape) -> None:
    """Blend one shape over what is there: the most distinct of three colours, textured and shaded."""
    region = canvas[shape.window()]
    coverage = shape.coverage[..., None]
    behind = (region * coverage).sum(axis=(0, 1)) / max(float(coverage.sum()), 1.0)
    colours = rng.uniform(15, 240, (3, 3)).astype(np.float32)
    colour = colours[np.argmax(np.abs(colours - behind).sum(axis=1))]
    height, width = region.shape[:2]
    slope_y, slope_x = rng.uniform(-0.2, 0.2, 2)
    shade = np.linspace(-slope_y, slope_y, height)[:, None] + np.linspace(-slope_x, slope_x, width)[None]
    texture = np.float32(rng.uniform(0.0, 0.14)) * _fractal(rng, height, width)
    fill = colour * (np.float32(1.0) + texture + shade.astype(np.float32))[..., None]
    region += coverage * (fill - region)


def _light(rng: np.random.RandomState, height: int, width: int) -> Floats:
    """Brightness float32 [height, width]: falls off across the picture and towards its corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope_y, slope_x, corners = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), rng.uniform(0.0, 0.12)
    light = 1.0 + slope_y * y + slope_x * x - corners * (x * x + y * y)
    return np.asarray(light, np.float32)


ANNOTATIONS = "instances.json"
JPEG_QUALITY = 92

#: Increases when scenes change, so that older data sets are rendered again.
VERSION = 1


def ensure_dataset(
    folder: Path, split: str, count: int, progress: Callable[[int], None] = lambda _: None
) -> Path:
    """The folder's annotation file, after rendering the scenes unless exactly these are there.

    Raises:
        BadInput: as ``write_dataset``.
    """
    path = folder / ANNOTATIONS
    try:
        there = json.loads(path.read_bytes())["info"]
    except (OSError, ValueError, KeyError, TypeError):
        there = None
    if there == _info(split, count):
        return path
    return write_dataset(folder, split, count, progress)


def write_dataset(
    folder: Path, split: str, count: int, progress: Callable[[int], None] = lambda _: None
) -> Path:
    """Render the first scenes of a split, all or none of them; returns the annotation file.

    Equal bytes on every run on one machine. Another version of OpenCV may encode a picture
    differently; ``instances.json`` stays equal.

    Args:
        folder: gets 000000.jpg, ... and ``instances.json``.
        split: ``train`` or ``heldout``.
        count: scenes.
        progress: called after each scene with the number of scenes done.

    Raises:
        BadInput: there is no such split, ``count`` is not positive, or the folder cannot be written to.
    """
    if split not in SPLITS or count < 1:
        raise BadInput(
            f"there are no {count} scenes of split {split!r}; choose from {', '.join(SPLITS)}, one or more"
        )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with staged_folder(folder) as stage:
        for index in range(count):
            scene = render_scene(SPLITS[split], index)
            name = f"{index:06d}.jpg"
            (stage / name).write_bytes(encode_jpeg(scene.picture, JPEG_QUALITY))
            height, width = scene.picture.shape[:2]
            images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
            annotations += _annotations(scene, index + 1, len(annotations) + 1)
            progress(index + 1)
        content = {
            "info": _info(split, count),
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": label + 1, "name": name, "supercategory": "shape"} for label, name in enumerate(SHAPES)
            ],
        }
        (stage / ANNOTATIONS).write_text(json.dumps(content, separators=(",", ":")) + "\n")
    return folder / ANNOTATIONS


def _info(split: str, count: int) -> dict[str, Any]:
    return {
        "description": "PSS-DET rendered scenes",
        "version": str(VERSION),
        "split": split,
        "seed": SPLITS.get(split),
        "count": count,
    }


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    return [
        {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": int(label) + 1,
            "bbox": [int(x1), int(y1), int(x2 - x1), int(y2 - y1)],
            "area": int(area),
            "iscrowd": 0,
        }
        for number, (label, (x1, y1, x2, y2), area) in enumerate(
            zip(scene.labels, scene.boxes, scene.areas, strict=True)
        )
    ]
