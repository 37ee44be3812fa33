"""Targets and samples of the two heads of a detector, in NumPy.

Assignment and sampling are those of Faster R-CNN (Ren et al., 2015, sections 3.1.2 and 3.1.3) with the
pyramid's settings (Lin et al., 2017, section 5), a cascade's that of Cai and Vasconcelos (2018). Boxes are
x1 y1 x2 y2; ``offset`` is the pixel offset of ``Numerics``: a side is x2 - x1 + offset pixels long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ANCHOR_POSITIVE = 0.7
ANCHOR_NEGATIVE = 0.3
ANCHOR_SAMPLES = 256
#: Overlap with a box that makes a region positive, by stage.
REGION_POSITIVE = (0.5, 0.6, 0.7)
REGION_SAMPLES = 128
REGION_POSITIVE_SHARE = 0.25
_RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class AnchorTargets(NamedTuple):
    """Sampled anchors of one image.

    Attributes:
        rows: int64 [S], which anchors; positives first.
        positive: number of positives.
        deltas: float32 [positive, 4], from each positive anchor to its box.
    """

    rows: Ints
    positive: int
    deltas: Floats


class RegionTargets(NamedTuple):
    """One image's regions that are on a box; the others are background.

    Attributes:
        rows: int64 [P], which regions.
        labels: int64 [P], 0-based.
        deltas: float32 [P, 4], from each to its box.
    """

    rows: Ints
    labels: Ints
    deltas: Floats


def overlaps(first: Floats, second: Floats, offset: int) -> Floats:
    """Intersection over union of every pair, float32 [A, B]; a box turned inside out has no area."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(opposite - corner + offset, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2] + offset, 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, np.float32(1e-9)), np.float32)


def encode(regions: Floats, boxes: Floats, weights: tuple[float, float, float, float], offset: int) -> Floats:
    """Deltas [R, 4] that move each region to its box: what the detector's decoding undoes.

    Source: Girshick et al., 2014, appendix C, times the configuration's weights.
    """
    size, target_size = (corners[:, 2:] - corners[:, :2] + offset for corners in (regions, boxes))
    centre, target = regions[:, :2] + 0.5 * size, boxes[:, :2] + 0.5 * target_size
    deltas = np.concatenate([(target - centre) / size, np.log(target_size / size)], axis=1)
    return np.asarray(deltas * np.array(weights), np.float32)


def anchor_targets(anchors: Floats, boxes: Floats, offset: int, rng: np.random.RandomState) -> AnchorTargets:
    """Anchors to learn from: overlapping a box by 0.7, or best for a box; and others below 0.3 with all."""
    if len(boxes):
        table = overlaps(anchors, boxes, offset)
        best = table.max(axis=1)
        matched = table.argmax(axis=1)
        positive = best >= ANCHOR_POSITIVE
        # Each box keeps its best anchors, however little they overlap it.
        closest = table.max(axis=0)
        rows, columns = np.nonzero((table == closest) & (closest > 0))
        positive[rows] = True
        matched[rows] = columns
    else:
        best = np.zeros(len(anchors), np.float32)
        matched = np.zeros(len(anchors), np.int64)
        positive = np.zeros(len(anchors), bool)
    chosen = _choose(np.flatnonzero(positive), ANCHOR_SAMPLES // 2, rng)
    rest = _choose(np.flatnonzero(~positive & (best < ANCHOR_NEGATIVE)), ANCHOR_SAMPLES - len(chosen), rng)
    deltas = np.zeros((0, 4), np.float32)
    if len(chosen):
        deltas = encode(anchors[chosen], boxes[matched[chosen]], _RPN_WEIGHTS, offset)
    return AnchorTargets(np.concatenate([chosen, rest]), len(chosen), deltas)


def sample_regions(proposals: Floats, boxes: Floats, offset: int, rng: np.random.RandomState) -> Floats:
    """Regions float32 [S, 4] to learn from: proposals and the boxes themselves, at most a quarter of them positive."""
    regions = np.concatenate([proposals, boxes], dtype=np.float32)
    best = overlaps(regions, boxes, offset).max(axis=1, initial=0.0)
    most = int(REGION_SAMPLES * REGION_POSITIVE_SHARE)
    positive = _choose(np.flatnonzero(best >= REGION_POSITIVE[0]), most, rng)
    negative = _choose(np.flatnonzero(best < REGION_POSITIVE[0]), REGION_SAMPLES - len(positive), rng)
    return np.asarray(regions[np.concatenate([positive, negative])], np.float32)


def region_targets(
    regions: Floats,
    boxes: Floats,
    labels: Ints,
    least: float,
    weights: tuple[float, float, float, float],
    offset: int,
) -> RegionTargets:
    """The right labels and deltas of a stage's regions.

    Args:
        least: overlap from which a region is of the box it overlaps most.
        weights: of the deltas.
    """
    if not len(boxes):
        return RegionTargets(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    table = overlaps(regions, boxes, offset)
    rows = np.flatnonzero(table.max(axis=1) >= least)
    matched = table.argmax(axis=1)[rows]
    return RegionTargets(rows, labels[matched], encode(regions[rows], boxes[matched], weights, offset))


def _choose(candidates: Ints, most: int, rng: np.random.RandomState) -> Ints:
    """At most so many of the candidates, at random."""
    return candidates if len(candidates) <= most else rng.permutation(candidates)[:most]
