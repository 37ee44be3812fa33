"""The rendered scenes as a COCO data set: JPEG files and ``instances.json`` in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput
from pssdet.files import staged_folder
from pssdet.images import encode_jpeg
from pssdet.models.labels import SHAPES
from pssdet.validation.scenes.layout import SPLITS
from pssdet.validation.scenes.render import Scene, render_scene

ANNOTATIONS = "instances.json"
JPEG_QUALITY = 92

#: Increases when scenes change, so that older data sets are rendered again.
VERSION = 1


def ensure_dataset(folder: Path, split: str, count: int, progress: Callable[[int], None] = lambda _: None) -> Path:
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


def write_dataset(folder: Path, split: str, count: int, progress: Callable[[int], None] = lambda _: None) -> Path:
    """Render the first ``count`` scenes of a split; the folder gets all of them or none.

    Equal bytes on every run on one machine. Another version of OpenCV may encode a picture
    differently; ``instances.json`` stays equal.

    Args:
        folder: gets 000000.jpg, ... and ``instances.json``.
        split: ``train`` or ``heldout``.
        count: scenes.
        progress: called after each scene with the number of scenes done.

    Returns:
        The annotation file's path.

    Raises:
        BadInput: there is no such split, ``count`` is not positive, or the folder cannot be written to.
    """
    if split not in SPLITS or count < 1:
        raise BadInput(f"there are no {count} scenes of split {split!r}; choose from {', '.join(SPLITS)}, one or more")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with staged_folder(folder) as stage:
        for index in range(count):
            scene = render_scene(SPLITS[split], index)
            name = f"{index:06d}.jpg"
            _write_jpeg(stage / name, scene)
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


def _write_jpeg(path: Path, scene: Scene) -> None:
    path.write_bytes(encode_jpeg(scene.picture, JPEG_QUALITY))


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
