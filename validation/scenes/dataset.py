"""Scenes to train and judge detectors on: rendered JPEG files, with ``instances.json``, a COCO instances file.

A scene is a function of two numbers, its split's seed and its index. Its layout comes from one stream of random
numbers (``layout.py``), its colours and textures from a second one (``paint.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.files import staged_folder
from pssdet.images import encode_jpeg
from pssdet.models.labels import SHAPES
from pssdet.validation.scenes.layout import SPLITS, box_of, lay_out
from pssdet.validation.scenes.paint import paint


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
    return Scene(paint(layout, seed, index), boxes, labels, areas)


ANNOTATIONS = "instances.json"
JPEG_QUALITY = 92

#: Increases when scenes change, so that older data sets are rendered again.
VERSION = 2


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
