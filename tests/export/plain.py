"""The detection part in plain numpy, one box at a time: what the ONNX functions must give."""

import numpy as np

MAX_LOG_SCALE = np.float32(4.135166556742356)


def iou(a, b, offset):
    overlap = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + offset
    if (overlap <= 0).any():
        return 0.0
    inner = overlap.prod()
    sizes = [(box[2:] - box[:2] + offset).prod() for box in (a, b)]
    return inner / (sum(sizes) - inner)


def nms(boxes, scores, threshold, offset, limit=None):
    """Indices kept, best score first, equal scores by index."""
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if all(iou(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(int(index))
    return kept[:limit]


def decode(box, delta, offset):
    size = box[2:] - box[:2] + offset
    centre = box[:2] + size * np.float32(0.5)
    centre = delta[:2] * size + centre
    size = np.exp(np.minimum(delta[2:], MAX_LOG_SCALE)) * size
    return np.concatenate([centre - size / 2, centre + size / 2 - offset])


def proposals_of_image(score_maps, delta_maps, image_size, anchors, strides, *, pre, post, threshold, min_size, offset):
    """Proposals [R, 4] and scores [R] of one image, best first."""
    boxes, scores = [], []
    for level, (score_map, delta_map) in enumerate(zip(score_maps, delta_maps, strict=True)):
        per_cell, _, width = score_map.shape
        flat = score_map.transpose(1, 2, 0).reshape(-1)
        deltas = delta_map.transpose(1, 2, 0).reshape(-1, 4)
        order = np.argsort(-flat, kind="stable")[:pre]
        level_boxes, level_scores = [], []
        for index in order:
            cell, kind = divmod(int(index), per_cell)
            y, x = divmod(cell, width)
            shift = np.array([x, y, x, y], np.float32) * strides[level]
            box = decode(anchors[level][kind] + shift, deltas[index], offset)
            bound = np.array([image_size[1], image_size[0]] * 2, np.float32) - offset
            box = np.maximum(np.minimum(box, bound), 0)
            if (box[2:] - box[:2] + offset >= min_size).all():
                level_boxes.append(box)
                level_scores.append(flat[index])
        kept = nms(np.array(level_boxes), np.array(level_scores), threshold, offset, post) if level_boxes else []
        boxes += [level_boxes[i] for i in kept]
        scores += [level_scores[i] for i in kept]
    order = np.argsort(-np.array(scores), kind="stable")[:post]
    return np.array(boxes).reshape(-1, 4)[order], np.array(scores)[order]


def detections_of_image(boxes, scores, *, score_threshold, nms_threshold, limit, offset=0.0):
    """Rows (label, score, x1, y1, x2, y2) of one image, best first; boxes [R, C, 4], scores [R, C]."""
    rows = []
    for label in range(scores.shape[1]):
        candidates = np.flatnonzero(scores[:, label] > score_threshold)
        kept = nms(boxes[candidates, label], scores[candidates, label], nms_threshold, offset)
        # Paddle keeps each class's boxes in the order of the proposals.
        rows += [(label, scores[i, label], *boxes[i, label]) for i in sorted(candidates[kept])]
    rows.sort(key=lambda row: -row[1])
    return np.array(rows[:limit]).reshape(-1, 6)


def level_of(box, offset=0.0, lowest=2, highest=5, canonical=4, size=224.0):
    area = (box[2] - box[0] + offset) * (box[3] - box[1] + offset)
    level = np.floor(np.log2(np.sqrt(np.float64(area)) / size + 1e-6) + canonical)
    return int(np.clip(level, lowest, highest))


def roi_align(feature_map, box, stride, size=7):
    """Aligned RoIAlign with adaptive sampling of one region on one map [C, h, w]."""
    x1, y1, x2, y2 = np.asarray(box, np.float64) / stride - 0.5
    bin_height, bin_width = (y2 - y1) / size, (x2 - x1) / size
    rows, columns = max(int(np.ceil((y2 - y1) / size)), 0), max(int(np.ceil((x2 - x1) / size)), 0)
    result = np.zeros((feature_map.shape[0], size, size))
    for i in range(size):
        for j in range(size):
            for r in range(rows):
                for c in range(columns):
                    y = y1 + i * bin_height + (r + 0.5) * bin_height / rows
                    x = x1 + j * bin_width + (c + 0.5) * bin_width / columns
                    result[:, i, j] += bilinear(feature_map, y, x)
    return result / max(rows * columns, 1)


def bilinear(feature_map, y, x):
    """Detectron's border rule: zero beyond one pixel outside, clamped within it."""
    _, height, width = feature_map.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(feature_map.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = feature_map[:, top, left] * (1 - dx) + feature_map[:, top, right] * dx
    lower = feature_map[:, bottom, left] * (1 - dx) + feature_map[:, bottom, right] * dx
    return upper * (1 - dy) + lower * dy
