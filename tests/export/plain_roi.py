"""Pyramid levels and RoIAlign in plain numpy, one sample at a time: what ``MultilevelRoiAlign`` must give.

Written from the definitions, for both eras: ``offset`` is the pixel convention of the area; ``aligned`` shifts
by half a cell and takes regions as small as they are, without it a region has at least one cell per side;
``sampling_ratio`` 0 means as many samples per bin and axis as a bin has cells, rounded up.
"""

import math

import numpy as np
from plain import is_inverted, sides

NO_SLACK = (0.0, 0.0, 0.0, 0.0)


def level_of(box, offset=0, lowest=2, highest=5, canonical=4, size=224.0):
    """floor(log2(sqrt(area) / size + 1e-6)) from the canonical level; a box without area is on the lowest."""
    box = np.asarray(box, np.float64)
    area = 0.0 if is_inverted(box) else sides(box, offset).prod()
    level = math.floor(math.log2(math.sqrt(area) / size + 1e-6) + canonical)
    return min(max(level, lowest), highest)


def roi_align(feature_map, box, stride, size=7, *, aligned=True, sampling_ratio=0, slack=NO_SLACK):
    """Features [C, size, size] of one region on one map [C, h, w]; ``slack`` as in ``bilinear``."""
    x1, y1, x2, y2 = np.asarray(box, np.float64) / stride - (0.5 if aligned else 0.0)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    rows, columns = (max(sampling_ratio or math.ceil(side / size), 0) for side in (height, width))
    result = np.zeros((feature_map.shape[0], size, size))
    for i in range(size):
        for j in range(size):
            for r in range(rows):
                for c in range(columns):
                    y = y1 + (i + (r + 0.5) / rows) * height / size
                    x = x1 + (j + (c + 0.5) / columns) * width / size
                    result[:, i, j] += bilinear(feature_map, y, x, slack)
    return result / max(rows * columns, 1)


def bilinear(feature_map, y, x, slack=NO_SLACK):
    """Detectron's border rule: zero beyond one cell outside, clamped within it.

    The value jumps there. ``slack`` moves that border outwards at the (top, bottom, left, right), to ask what
    a sample next to it might have given.
    """
    _, height, width = feature_map.shape
    top, bottom, left, right = slack
    if y < -1 - top or y > height + bottom or x < -1 - left or x > width + right:
        return np.zeros(feature_map.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy, dx = y - y0, x - x0
    upper = feature_map[:, y0, x0] * (1 - dx) + feature_map[:, y0, x1] * dx
    lower = feature_map[:, y1, x0] * (1 - dx) + feature_map[:, y1, x1] * dx
    return upper * (1 - dy) + lower * dy
