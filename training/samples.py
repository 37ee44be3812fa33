"""Batches of an annotated data set; the seed and the step decide each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.preprocess import network_sizes, prepare, resize_scale
from pssdet.models.reader import Preprocessing
from pssdet.validation.ground_truth import GroundTruth

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Annotated(NamedTuple):
    """One picture's file and annotations.

    Attributes:
        path: of the JPEG file.
        size: (height, width), pixels.
        boxes: float32 [B, 4], x1 y1 x2 y2, pixels of the file.
        labels: int64 [B], 0-based.
    """

    path: Path
    size: tuple[int, int]
    boxes: Floats
    labels: Ints


class Batch(NamedTuple):
    """Pictures of one padded size, as the detector takes them.

    Attributes:
        image: float32 [N, 3, H, W].
        image_size: float32 [N, 2], (h, w) before padding.
        boxes: for each image float32 [B, 4], network pixels.
        labels: for each image int64 [B].
    """

    image: Floats
    image_size: Floats
    boxes: list[Floats]
    labels: list[Ints]


def annotated_pictures(truth: GroundTruth) -> list[Annotated]:
    """The pictures of a data set with their objects.

    Raises:
        BadInput: a picture is missing.
    """
    if truth.problems:
        name, reason = truth.problems[0]
        raise BadInput(f"{truth.path} names {name}, but {reason}; render the scenes again")
    label_of = {category: label for label, category in enumerate(truth.category_ids)}
    rows: dict[int, list[list[float]]] = {image.id: [] for image in truth.images}
    for each in truth.raw["annotations"]:
        x, y, width, height = each["bbox"]
        rows[each["image_id"]].append([x, y, x + width, y + height, label_of[each["category_id"]]])
    tables = [np.array(rows[image.id], np.float32).reshape(-1, 5) for image in truth.images]
    return [
        Annotated(image.path, (image.height, image.width), table[:, :4], table[:, 4].astype(np.int64))
        for image, table in zip(truth.images, tables, strict=True)
    ]


def padded_size(size: tuple[int, int], steps: Preprocessing) -> tuple[int, int]:
    """(H, W) of a picture's network input."""
    return network_sizes(size, resize_scale(*size, steps), steps.stride)[1]


def group_by_size(samples: list[Annotated], steps: Preprocessing) -> list[list[int]]:
    """Positions of the pictures that share a padded size, which can go through a network together."""
    sizes = [padded_size(sample.size, steps) for sample in samples]
    return [[i for i, size in enumerate(sizes) if size == one] for one in sorted(set(sizes))]


class Batches:
    """All batches of a training run: the same for the same seed, wherever the run was interrupted.

    Args:
        samples: the data set.
        steps: the detector's reader.
        count: pictures in a batch, all of one padded size.
        seed: decides order, flips and what the losses sample.
        offset: pixel offset of the boxes: 1 gives x2, y2 as the last pixel of a box, not the one after it.
    """

    def __init__(
        self, samples: list[Annotated], steps: Preprocessing, count: int, seed: int, offset: int = 0
    ) -> None:
        self._samples, self._steps, self._count, self._seed = samples, steps, count, seed
        self._inside = np.array([0, 0, offset, offset], np.float32)
        self._groups = group_by_size(samples, steps)
        self._per_epoch = sum(len(group) // count for group in self._groups)
        if not self._per_epoch:
            raise BadInput(
                f"{len(samples)} pictures do not fill a batch of {count} of one size; render more scenes"
            )
        self._order: tuple[int, list[list[int]]] = (-1, [])

    def batch(self, number: int) -> tuple[Batch, np.random.RandomState]:
        """Batch ``number`` of the run, and the random numbers that belong to it."""
        epoch, position = divmod(number, self._per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._epoch(epoch))
        rng = np.random.RandomState([self._seed, 1, number])
        return self._load(self._order[1][position], rng), rng

    def _epoch(self, epoch: int) -> list[list[int]]:
        rng = np.random.RandomState([self._seed, 0, epoch])
        batches = []
        for group in self._groups:
            order = rng.permutation(group)
            starts = range(0, len(group) - self._count + 1, self._count)
            batches += [order[start : start + self._count].tolist() for start in starts]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _load(self, indices: list[int], rng: np.random.RandomState) -> Batch:
        images, sizes, boxes, labels = [], [], [], []
        for index in indices:
            sample = self._samples[index]
            picture, flipped = flip(load(sample.path), sample.boxes, *rng.random_sample(2) < 0.5)
            ready = prepare(picture, self._steps)
            images.append(ready.image)
            sizes.append(ready.image_size)
            boxes.append((flipped - self._inside) * np.float32(ready.scale))
            labels.append(sample.labels)
        return Batch(np.stack(images), np.array(sizes, np.float32), boxes, labels)


def flip(
    picture: NDArray[np.uint8],
    boxes: Floats,
    horizontally: bool,  # noqa: FBT001
    vertically: bool,  # noqa: FBT001
) -> tuple[NDArray[np.uint8], Floats]:
    """A picture and its boxes [B, 4], mirrored ``horizontally`` (left to right) and ``vertically``."""
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = boxes.T
    if horizontally:
        picture, x1, x2 = picture[:, ::-1], width - x2, width - x1
    if vertically:
        picture, y1, y2 = picture[::-1], height - y2, height - y1
    return np.ascontiguousarray(picture), np.stack([x1, y1, x2, y2], axis=1)
