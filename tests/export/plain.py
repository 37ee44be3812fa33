"""Boxes, proposals and detections in plain numpy, one box at a time: what the ONNX functions must give.

Written from the definitions and in double precision. ``offset`` is the pixel convention: with 1 a box from
x=3 to x=5 is 3 pixels wide, with 0 it is 2 wide. Equal scores keep the order of their indices everywhere.
"""

import math

import numpy as np

MAX_LOG_SCALE = math.log(1000 / 16)


def sides(box, offset):
    """Width and height."""
    return box[2:] - box[:2] + offset


def is_inverted(box):
    return box[2] < box[0] or box[3] < box[1]


def iou(a, b, offset):
    """Intersection over union; a box that is inverted or has no area overlaps nothing."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if is_inverted(a) or is_inverted(b):
        return 0.0
    common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + offset
    if common[0] <= 0 or common[1] <= 0:
        return 0.0
    inner = common[0] * common[1]
    return inner / (sides(a, offset).prod() + sides(b, offset).prod() - inner)


def by_falling_score(scores):
    """Indices, best first; ``sorted`` is stable."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def nms(boxes, scores, threshold, offset):
    """Indices kept, best first: a box goes if it overlaps a kept one by more than the threshold."""
    kept = []
    for index in by_falling_score(scores):
        if all(iou(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def base_anchor(size, stride, ratio, rounded):
    """Corners of the anchor of cell (0, 0), of height / width ``ratio``.

    Of the exact size around the cell's corner; or around its centre, in whole multiples of the stride's shape
    rounded as C does, halves up, and with corners that count their own pixels.
    """
    if not rounded:
        half = np.array([size / math.sqrt(ratio), size * math.sqrt(ratio)]) / 2
        return np.concatenate([-half, half])
    width = math.floor(math.sqrt(stride * stride / ratio) + 0.5)
    height = math.floor(width * ratio + 0.5)
    half = (np.array([width, height]) * size / stride - 1) / 2
    return np.concatenate([(stride - 1) / 2 - half, (stride - 1) / 2 + half])


def decode(box, delta, offset):
    """An anchor moved by (dx, dy) of its sides and scaled by exp(dw, dh)."""
    size = sides(box, offset)
    centre = box[:2] + size / 2 + delta[:2] * size
    half = np.exp(np.minimum(delta[2:], MAX_LOG_SCALE)) * size / 2
    return np.concatenate([centre - half, centre + half - offset])


def clip(box, image_size, offset, multiple=1):
    """Corners within the image, or within its size padded to a multiple; (h, w) are whole pixels."""
    height, width = (-(-int(side) // multiple) * multiple - offset for side in image_size)
    return np.maximum(np.minimum(box, [width, height, width, height]), 0)


def proposals_of_image(
    score_maps, delta_maps, image_size, anchors, strides, *, pre, post, threshold, min_size, offset, multiple=1
):
    """Proposals [R, 4] and scores [R] of one image, best first; maps are [A, h, w] and [4A, h, w]."""
    boxes, scores = [], []
    for level, (score_map, delta_map) in enumerate(zip(score_maps, delta_maps, strict=True)):
        per_cell, height, width = score_map.shape
        cells = [(y, x, kind) for y in range(height) for x in range(width) for kind in range(per_cell)]
        level_scores = [score_map[kind, y, x] for y, x, kind in cells]
        candidates, candidate_scores = [], []
        for index in by_falling_score(level_scores)[:pre]:
            y, x, kind = cells[index]
            anchor = np.asarray(anchors[level][kind], np.float64) + np.array([x, y, x, y]) * strides[level]
            delta = delta_map[4 * kind : 4 * kind + 4, y, x].astype(np.float64)
            box = clip(decode(anchor, delta, offset), image_size, offset, multiple)
            if min(sides(box, offset)) >= min_size:
                candidates.append(box)
                candidate_scores.append(level_scores[index])
        kept = nms(candidates, candidate_scores, threshold, offset)[:post]
        boxes += [candidates[i] for i in kept]
        scores += [candidate_scores[i] for i in kept]
    best = by_falling_score(scores)[:post]
    return np.array([boxes[i] for i in best]).reshape(-1, 4), np.array([scores[i] for i in best], np.float32)


def detections_of_image(boxes, scores, *, score_threshold, nms_threshold, limit, offset):
    """Labels [D], scores [D] and boxes [D, 4] of one image, best first; boxes [R, C or 1, 4], scores [R, C].

    Equal scores come in the order of the classes, and within one in that of the regions.
    """
    found = []
    for label in range(scores.shape[1]):
        of_class = boxes[:, label if boxes.shape[1] > 1 else 0]
        candidates = [i for i in range(len(scores)) if scores[i, label] > np.float32(score_threshold)]
        kept = nms(of_class[candidates], scores[candidates, label], nms_threshold, offset)
        found += [(label, scores[i, label], of_class[i]) for i in sorted(candidates[k] for k in kept)]
    best = [found[i] for i in by_falling_score([score for _, score, _ in found])[:limit]]
    return (
        np.array([label for label, _, _ in best], np.int32),
        np.array([score for _, score, _ in best], np.float32),
        np.array([box for _, _, box in best], np.float32).reshape(-1, 4),
    )
