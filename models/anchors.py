"""The base anchors of the region proposal network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pssdet.models.architecture import Architecture
from pssdet.models.numerics import Numerics


def base_anchors(arch: Architecture, numerics: Numerics) -> NDArray[np.float32]:
    """Base anchors of the region proposal network, float32 [levels, A, 4] as x1 y1 x2 y2.

    They are relative to a cell's top left corner: adding (x * stride, y * stride)
    gives the anchors of cell (x, y) in network pixels. Source: ``anchor_generator``
    of Paddle 1.8 (rounded) and ``AnchorGenerator`` of PaddleDetection 2.6 (exact).
    """
    make = _rounded if numerics.anchors == "rounded" else _exact
    return np.stack(
        [
            make(stride, size, np.asarray(arch.anchor_ratios))
            for stride, size in zip(arch.strides, arch.anchor_sizes, strict=True)
        ]
    ).astype(np.float32)


def _exact(stride: int, size: float, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    del stride  # centred on the cell's corner whatever the stride
    width = np.sqrt(size * size / ratios)
    height = ratios * width
    return 0.5 * np.stack([-width, -height, width, height], axis=1)


def _rounded(stride: int, size: float, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    # C rounds halves away from zero (22.5 -> 23), Python and numpy round them to even.
    base_width = np.floor(np.sqrt(stride * stride / ratios) + 0.5)
    base_height = np.floor(base_width * ratios + 0.5)
    half_width = 0.5 * (base_width * size / stride - 1)
    half_height = 0.5 * (base_height * size / stride - 1)
    centre = 0.5 * (stride - 1)
    return centre + np.stack([-half_width, -half_height, half_width, half_height], axis=1)
