"""The conventions in which the published detectors differ, as data.

Two programs trained and ran PSS-DET: the static PaddleDetection of 2020 (rows 1-3)
and the dygraph one of 2021 (row 4). Weights only reproduce their published AP under
the conventions they were trained with, so those travel with every exported model.

One difference in words is none in numbers: the static program drops
proposals whose width in original pixels, ``(x2 - x1) / scale + 1``, is
under 1: x2 < x1, as the dygraph formula with ``pixel_offset`` 1 says.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Numerics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One set of conventions; every field names one difference.

    Attributes:
        pixel_offset: 1 if a box from x=3 to x=5 is 3 pixels wide (legacy), 0 if it is 2 wide.
        anchors: ``exact`` around a cell's corner, or ``rounded`` to whole pixels around its centre (legacy).
        proposal_clip: proposals are clipped to the ``image`` content or to its ``padded`` size.
        proposal_scores: ``logit`` or ``probability``; the order is the same, the values differ.
        roi_aligned: RoIAlign shifts by half a pixel.
        roi_sampling_ratio: samples per bin and axis; 0 means ceil(region size / 7).
        clamp_box_deltas: dw and dh of the second stage are clamped at ln(1000/16).
        decode_space: pixels in which second-stage boxes are decoded, clipped and suppressed.
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
