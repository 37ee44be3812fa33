"""The conventions in which the published detectors differ, as data.

Two programs trained and ran PSS-DET: the static PaddleDetection of 2020 (rows 1-3) and the dygraph one of 2021
(row 4). Weights only reproduce their published AP under the conventions they were trained with, so those travel
with every exported model.

One difference in words is none in numbers: the static program drops proposals whose width in original pixels,
``(x2 - x1) / scale + 1``, is under 1: x2 < x1, as the dygraph formula with ``pixel_offset`` 1 says.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.models.architecture import Architecture


class Numerics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One set of conventions; every field names one difference.

    Attributes:
        pixel_offset: 1 if a box from x=3 to x=5 is 3 pixels wide (legacy), 0 if it is 2 wide.
        anchors: ``exact`` corners around the cell's corner, or ``rounded`` to whole pixels
            around the cell's centre (legacy).
        proposal_clip: proposals are clipped to the ``image`` content or to its ``padded`` size.
        proposal_scores: ``logit`` or ``probability``; the order is the same, the values differ.
        roi_aligned: RoIAlign shifts by half a pixel.
        roi_sampling_ratio: samples per bin and axis; 0 means ceil(region size / 7).
        clamp_box_deltas: dw and dh of the second stage are clamped at ln(1000/16).
        decode_space: second-stage boxes are decoded, clipped and suppressed in ``network`` or
            ``original`` pixels.
        background: position of the background class among the class scores.
    """

    pixel_offset: int
    anchors: Literal["exact", "rounded"]
    proposal_clip: Literal["image", "padded"]
    proposal_scores: Literal["logit", "probability"]
    roi_aligned: bool
    roi_sampling_ratio: int
    clamp_box_deltas: bool
    decode_space: Literal["network", "original"]
    background: Literal["first", "last"]


DYGRAPH = Numerics(
    pixel_offset=0,
    anchors="exact",
    proposal_clip="image",
    proposal_scores="logit",
    roi_aligned=True,
    roi_sampling_ratio=0,
    clamp_box_deltas=True,
    decode_space="network",
    background="last",
)

STATIC = Numerics(
    pixel_offset=1,
    anchors="rounded",
    proposal_clip="padded",
    proposal_scores="probability",
    roi_aligned=False,
    roi_sampling_ratio=2,
    clamp_box_deltas=False,
    decode_space="original",
    background="first",
)


def base_anchors(arch: Architecture, numerics: Numerics) -> NDArray[np.float32]:
    """Base anchors of the region proposal network, float32 [levels, A, 4] as x1 y1 x2 y2.

    They are relative to a cell's top left corner: adding (x * stride, y * stride) gives the anchors of cell (x, y)
    in network pixels. Source: ``anchor_generator`` of Paddle 1.8 (rounded) and ``AnchorGenerator`` of
    PaddleDetection 2.6 (exact).
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
