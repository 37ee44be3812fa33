"""The stages of a two-stage detector, and whether two runs of it agree at each of them.

Both runs give tensors in the layout of the exported model: N images, R region slots of which
``proposal_count`` are used, the rest zero. Limits are those that float32 programs of the same detector
keep in practice with a margin of ten; a wrong convention breaks them by far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.models.architecture import MAX_DETECTIONS, ROI_LEVELS, Architecture
from pssdet.models.card import StageRecord

Tensors = Mapping[str, NDArray[Any]]
_Floats = NDArray[np.floating[Any]]


#: Names of the exported graph's nodes begin so where they come from the trunk and from the head.
TRUNK_NODES = "trunk/"
HEAD_NODES = "head/"


class Limits(NamedTuple):
    """What still counts as agreement.

    Attributes:
        maps: relative to the largest value of the reference map.
        proposals: pixels, network.
        probabilities: absolute.
        decoded_boxes: pixels.
        score: of a detection, absolute.
        box: of a detection, original pixels.
        share: part of the proposals, and of a full set of detections, that must find its
            partner; the limit of 100 can exchange candidates with nearly equal scores.
    """

    maps: float = 1e-4
    proposals: float = 0.05
    probabilities: float = 1e-3
    decoded_boxes: float = 0.1
    score: float = 1e-3
    box: float = 0.1
    share: float = 0.98


FLOAT32 = Limits()

#: Half precision moves whatever a near-tie decides, so its limits are those of a usable detector.
HALF = Limits(maps=0.02, proposals=2.0, probabilities=0.02, decoded_boxes=2.0, score=0.02, box=2.0, share=0.95)


class Match(NamedTuple):
    """Detections paired one to one.

    Attributes:
        matched: reference rows with a partner.
        expected: rows of the reference.
        obtained: rows of the candidate.
        score: largest difference of scores over the pairs.
        box: largest difference of a coordinate over the pairs, pixels.
    """

    matched: int
    expected: int
    obtained: int
    score: float
    box: float

    def share(self) -> float:
        """Part of the rows, of the larger side, that found a partner; 1 if there are none."""
        rows = max(self.expected, self.obtained)
        return self.matched / rows if rows else 1.0


def map_stages(arch: Architecture) -> tuple[str, ...]:
    """Names of the trunk's maps: c2.., p2.., rpn_score_p2.., rpn_delta_p2.. ."""
    levels = range(2, 2 + len(arch.strides))
    return (
        *(f"c{stage}" for stage in range(2, 2 + len(arch.blocks))),
        *(f"p{level}" for level in ROI_LEVELS),
        *(f"rpn_score_p{level}" for level in levels),
        *(f"rpn_delta_p{level}" for level in levels),
    )


#: Stages with a row for each region, after the proposals.
REGION_STAGES = ("roi_features", "class_probabilities", "decoded_boxes")


def tap_names(arch: Architecture) -> tuple[str, ...]:
    """Every intermediate tensor that a stage-by-stage comparison needs."""
    return (*map_stages(arch), "proposals", "proposal_scores", "proposal_count", *REGION_STAGES)


def detection_rows(outputs: Tensors, image: int) -> _Floats:
    """Rows [D, 6] (label, score, x1, y1, x2, y2) of one image of the model's outputs."""
    count = int(outputs["count"][image])
    columns = (outputs["labels"][image, :count, None], outputs["scores"][image, :count, None])
    return np.concatenate([*columns, outputs["boxes"][image, :count]], axis=1)


def compare(
    case: str, arch: Architecture, reference: Tensors, candidate: Tensors, limits: Limits = FLOAT32
) -> list[StageRecord]:
    """Agreement at every stage, image by image, in the order in which data flows."""
    records: list[StageRecord] = []
    count = len(reference["count"])
    for image in range(count):
        name = case if count == 1 else f"{case}, image {image + 1}"
        records += _compare_image(name, arch, _of_image(reference, image), _of_image(candidate, image), limits)
    return records


def _of_image(tensors: Tensors, image: int) -> dict[str, NDArray[Any]]:
    """One image's part, regions cut to those that exist."""
    batch = len(tensors["count"])
    regions = int(tensors["proposal_count"][image])
    part = {name: value[image] for name, value in tensors.items() if len(value) == batch}
    for name in REGION_STAGES:
        part[name] = tensors[name].reshape(batch, -1, *tensors[name].shape[1:])[image, :regions]
    for name in ("proposals", "proposal_scores"):
        part[name] = part[name][:regions]
    part["detections"] = detection_rows(tensors, image)
    return part


def _compare_image(
    case: str, arch: Architecture, reference: Tensors, candidate: Tensors, limits: Limits
) -> list[StageRecord]:
    records = [_map_record(case, name, reference[name], candidate[name], limits.maps) for name in map_stages(arch)]
    pairs, distance = pair_proposals(
        reference["proposals"], reference["proposal_scores"], candidate["proposals"], candidate["proposal_scores"]
    )
    surplus = max(len(candidate["proposals"]) - len(reference["proposals"]), 0)
    records.append(_row_record(case, "proposals", distance, limits.proposals, "px", limits.share, surplus=surplus))
    near = distance <= limits.proposals
    scale = max(float(np.abs(reference["roi_features"]).max(initial=0)), 1e-30)
    allowed = {
        "roi_features": (limits.maps, "relative", scale),
        "class_probabilities": (limits.probabilities, "absolute", 1.0),
        "decoded_boxes": (limits.decoded_boxes, "px", 1.0),
    }
    for name, (limit, unit, divisor) in allowed.items():
        difference = _rows_differ(reference[name][near], candidate[name][pairs[near]]) / divisor
        records.append(_row_record(case, name, difference, limit, unit, limits.share))
    records.append(_detections_record(case, reference["detections"], candidate["detections"], limits))
    return records


def _map_record(case: str, name: str, reference: _Floats, candidate: _Floats, limit: float) -> StageRecord:
    if reference.shape != candidate.shape or not np.isfinite(candidate).all():
        return StageRecord(case, name, float("inf"), limit, "relative", 0.0, passed=False)
    difference = float(np.abs(reference - candidate).max() / max(np.abs(reference).max(), 1e-30))
    return StageRecord(case, name, difference, limit, "relative", 1.0, passed=difference <= limit)


def _row_record(
    case: str, name: str, difference: _Floats, limit: float, unit: str, share: float, *, surplus: int = 0
) -> StageRecord:
    """A stage whose rows are compared one by one; rows beyond the limit count against the share."""
    near = difference <= limit
    part = float(near.sum() / (len(difference) + surplus)) if len(difference) + surplus else 1.0
    largest = float(difference[near].max(initial=0.0))
    return StageRecord(case, name, largest, limit, unit, part, passed=part >= share)


def _rows_differ(reference: _Floats, candidate: _Floats) -> _Floats:
    """Largest difference within each row; infinite where a value is NaN."""
    flat = np.abs(reference - candidate).reshape(len(reference), -1)
    largest: _Floats = flat.max(axis=1, initial=0.0)
    return np.nan_to_num(largest, nan=np.inf)


def _detections_record(case: str, reference: _Floats, candidate: _Floats, limits: Limits) -> StageRecord:
    match = match_detections(candidate, reference, limits.score, limits.box)
    needed = limits.share if match.expected == MAX_DETECTIONS else 1.0
    passed = match.share() >= needed
    return StageRecord(case, "detections", match.box, limits.box, "px", match.share(), passed=passed)


def pair_proposals(
    reference: _Floats, reference_scores: _Floats, candidate: _Floats, candidate_scores: _Floats
) -> tuple[NDArray[np.intp], _Floats]:
    """Partner of each reference proposal and their distance in pixels, one to one.

    Proposals of different levels can coincide, so the nearest box *and* score wins; two proposals
    with nearly equal scores may have changed places, so the order does not count. A proposal
    without a partner is infinitely far from index 0.
    """
    partner = np.zeros(len(reference), np.intp)
    distance = np.full(len(reference), np.inf)
    boxes = np.abs(reference[:, None] - candidate[None]).max(axis=2)
    cost = np.nan_to_num(boxes + np.abs(reference_scores[:, None] - candidate_scores[None]), nan=np.inf)
    for _ in range(min(cost.shape)):
        row, column = np.unravel_index(np.argmin(cost), cost.shape)
        partner[row], distance[row] = column, boxes[row, column]
        cost[row, :] = cost[:, column] = np.inf
    return partner, np.nan_to_num(distance, nan=np.inf)


def match_detections(obtained: _Floats, expected: _Floats, score: float, box: float) -> Match:
    """Pair rows (label, score, x1, y1, x2, y2) one to one.

    Rows match if labels are equal, scores differ by at most ``score`` and every coordinate by at
    most ``box``; each expected row takes the nearest free candidate.
    """
    free = np.ones(len(obtained), bool)
    matched, worst_score, worst_box = 0, 0.0, 0.0
    for row in expected:
        scores = np.abs(obtained[:, 1] - row[1])
        boxes = np.abs(obtained[:, 2:] - row[2:]).max(axis=1)
        fits = free & (obtained[:, 0] == row[0]) & (scores <= score) & (boxes <= box)
        if fits.any():
            best = int(np.argmin(np.where(fits, boxes, np.inf)))
            free[best] = False
            matched += 1
            worst_score, worst_box = max(worst_score, float(scores[best])), max(worst_box, float(boxes[best]))
    return Match(matched, len(expected), len(obtained), worst_score, worst_box)
