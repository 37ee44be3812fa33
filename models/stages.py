"""The stages of a two-stage detector, and whether two runs of it agree at each of them.

Tensors have the layout of the exported model: N images, R region slots of which ``proposal_count`` are
used. Float32 programs keep the limits with a margin of ten; a wrong convention breaks them by far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.models.architecture import MAX_DETECTIONS, ROI_LEVELS, SCORE_THRESHOLD, Architecture
from pssdet.models.card import Precision, StageRecord
from pssdet.models.matching import Match, detection_rows, match_detections, pair_proposals

StageTensors = Mapping[str, NDArray[Any]]
_Floats = NDArray[np.floating[Any]]

#: Names of the exported graph's nodes begin so where they come from the trunk and from the head.
TRUNK_NODES = "trunk/"
HEAD_NODES = "head/"


class Limits(NamedTuple):
    """What still counts as agreement; probabilities and scores differ absolutely, boxes in pixels.

    Attributes:
        maps: relative to the largest value of the reference map; also for scores of proposals.
        score: of a detection; ``box`` likewise, in original pixels.
        region_share: part of the proposals, and of what follows them, that must agree.
        detection_share: part of the detections that must find their partner.
        full_share: the same where the reference has as many as fit: near-ties displace each other.
        same_counts: as many proposals, and as many detections but for those at the score threshold.
    """

    maps: float = 1e-4
    proposals: float = 0.05
    probabilities: float = 1e-3
    decoded_boxes: float = 0.1
    score: float = 1e-3
    box: float = 0.1
    region_share: float = 0.98
    detection_share: float = 1.0
    full_share: float = 0.98
    same_counts: bool = True


FLOAT32 = Limits()

#: Half precision reorders proposals of nearly equal scores; what must hold are the maps and the detections.
HALF = Limits(
    maps=0.02,
    proposals=2.0,
    probabilities=0.02,
    decoded_boxes=2.0,
    score=0.02,
    box=2.0,
    region_share=0.5,
    detection_share=0.95,
    full_share=0.95,
    same_counts=False,
)

#: bfloat16 has 8 significant bits where float16 has 11. Single values of c5 are off by up to 0.084 on the
#: bundled picture, in a detector that keeps its AP and the scores of its detections.
BFLOAT = Limits(
    maps=0.15,
    proposals=2.0,
    probabilities=0.05,
    decoded_boxes=4.0,
    score=0.05,
    box=4.0,
    region_share=0.5,
    detection_share=0.9,
    full_share=0.9,
    same_counts=False,
)

#: 8 bits cut off the largest values of a map and move boxes of low scores. Measured with the
#: bundled detectors on the bundled picture, which builds are proved on: maps 0.21 at most, half of the
#: proposals within 0.3 px and of the probabilities within 0.015, at least 92 % of the detections within
#: the limits. On 25 scenes single maps of c4 and c5 go beyond theirs (1.9 at most), though AP keeps to its
#: margin. Ranges wrong by a factor of four break them (``tests/engines/precision/test_quantise.py``); one
#: tensor alone with too wide a range may not.
INT8 = Limits(
    maps=0.5,
    proposals=2.0,
    probabilities=0.05,
    decoded_boxes=4.0,
    score=0.2,
    box=8.0,
    region_share=0.5,
    detection_share=0.75,
    full_share=0.75,
    same_counts=False,
)

#: What an engine of each precision must keep.
LIMITS: dict[Precision, Limits] = {"fp32": FLOAT32, "fp16": HALF, "bf16": BFLOAT, "int8": INT8}


def map_stages(arch: Architecture) -> tuple[str, ...]:
    """Names of the trunk's maps: c2.., p2.., rpn_score_p2.., rpn_delta_p2.. ."""
    levels = range(2, 2 + len(arch.strides))
    return (
        *(f"c{layer}" for layer in range(2, 2 + len(arch.blocks))),
        *(f"p{level}" for level in ROI_LEVELS),
        *(f"rpn_score_p{level}" for level in levels),
        *(f"rpn_delta_p{level}" for level in levels),
    )


def region_stages(arch: Architecture) -> tuple[str, ...]:
    """Names of the stages with a row for each region, in the order of the data."""
    if arch.num_heads == 1:
        return ("roi_features", "class_probabilities", "decoded_boxes")
    rois = [f"rois_stage{head}" for head in range(2, arch.num_heads + 1)]
    features = [f"roi_features_stage{head}" for head in range(1, arch.num_heads + 1)]
    woven = [name for pair in zip(features[1:], rois, strict=True) for name in reversed(pair)]
    return (features[0], *woven, "class_probabilities", "decoded_boxes")


def tap_names(arch: Architecture) -> tuple[str, ...]:
    """Every intermediate tensor that a stage-by-stage comparison needs."""
    return (*map_stages(arch), "proposals", "proposal_scores", "proposal_count", *region_stages(arch))


def compare(
    case: str, arch: Architecture, reference: StageTensors, candidate: StageTensors, limits: Limits = FLOAT32
) -> list[StageRecord]:
    """Agreement at every stage, image by image, in the order in which data flows."""
    records: list[StageRecord] = []
    regions = region_stages(arch)
    for image, name in enumerate(_case_names(case, reference)):
        ours, theirs = _of_image(reference, image, regions), _of_image(candidate, image, regions)
        records += _compare_image(name, arch, ours, theirs, limits)
    return records


def compare_detections(
    case: str, reference: StageTensors, candidate: StageTensors, limits: Limits = FLOAT32
) -> list[StageRecord]:
    """Agreement of the detections alone, image by image, for runs that return nothing else."""
    return [
        _detections_record(name, detection_rows(reference, image), detection_rows(candidate, image), limits)
        for image, name in enumerate(_case_names(case, reference))
    ]


def _case_names(case: str, run: StageTensors) -> list[str]:
    count = len(run["count"])
    return [case] if count == 1 else [f"{case}, image {image + 1}" for image in range(count)]


def rows_of_image(name: str, tensor: NDArray[Any], image: int, batch: int) -> NDArray[Any]:
    """One image's slots of a region stage: [N, R, 4] for regions, else [N * R, ...]."""
    row = tensor.shape[2:] if name.startswith("rois_") else tensor.shape[1:]
    rows: NDArray[Any] = tensor.reshape(batch, -1, *row)[image]
    return rows


def first_broken(records: Sequence[StageRecord]) -> str:
    """Where the data first differ beyond the limits, in words; empty if nowhere."""
    failed = [record for record in records if not record.passed]
    if not failed:
        return ""
    first = failed[0]
    return (
        f"at {len(failed)} of {len(records)} stages, first at {first.stage} ({first.case}): difference"
        f" {first.difference:.3g} {first.unit}, limit {first.limit:.3g}, {first.share:.1%} of the rows agree"
    )


def _of_image(tensors: StageTensors, image: int, region_names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """One image's part, regions cut to those that exist."""
    batch = len(tensors["count"])
    regions = int(tensors["proposal_count"][image])
    part = {name: value[image] for name, value in tensors.items() if len(value) == batch}
    for name in region_names:
        part[name] = rows_of_image(name, tensors[name], image, batch)[:regions]
    for name in ("proposals", "proposal_scores"):
        part[name] = part[name][:regions]
    part["detections"] = detection_rows(tensors, image)
    return part


def _compare_image(
    case: str, arch: Architecture, reference: StageTensors, candidate: StageTensors, limits: Limits
) -> list[StageRecord]:
    records = [
        map_record(case, name, reference[name], candidate[name], limits.maps) for name in map_stages(arch)
    ]
    pairs = pair_proposals(
        reference["proposals"],
        reference["proposal_scores"],
        candidate["proposals"],
        candidate["proposal_scores"],
    )
    for name in ("proposals", "proposal_scores", *region_stages(arch)):
        limit, unit = _limit_of(name, limits)
        divisor = _largest(reference[name]) if unit == "relative" else 1.0
        difference = _row_differences(reference[name], candidate[name], pairs) / divisor
        record = _row_record(case, name, difference, limit, unit, limits.region_share)
        if limits.same_counts and len(reference[name]) != len(candidate[name]):
            record = msgspec.structs.replace(record, passed=False)
        records.append(record)
    records.append(_detections_record(case, reference["detections"], candidate["detections"], limits))
    return records


def _limit_of(stage: str, limits: Limits) -> tuple[float, str]:
    if stage == "proposals":
        return limits.proposals, "px"
    if stage == "decoded_boxes" or stage.startswith("rois_"):
        return limits.decoded_boxes, "px"
    if stage == "class_probabilities":
        return limits.probabilities, "absolute"
    return limits.maps, "relative"


def _largest(array: _Floats) -> float:
    return max(float(np.abs(array).max(initial=0.0)), 1e-30)


def map_record(case: str, name: str, reference: _Floats, candidate: _Floats, limit: float) -> StageRecord:
    """Agreement of two tensors, by the largest difference relative to the largest value."""
    if reference.shape != candidate.shape or not np.isfinite(candidate).all():
        return StageRecord(case, name, float("inf"), limit, "relative", 0.0, passed=False)
    difference = float(np.abs(reference - candidate).max()) / _largest(reference)
    return StageRecord(case, name, difference, limit, "relative", 1.0, passed=difference <= limit)


def _row_differences(reference: _Floats, candidate: _Floats, pairs: NDArray[np.intp]) -> _Floats:
    """Largest difference within each pair of rows; infinite for rows without a partner and for NaN."""
    differences = np.full(max(len(reference), len(candidate)), np.inf)
    paired = np.flatnonzero(pairs >= 0)
    values = np.abs(reference[paired] - candidate[pairs[paired]])
    differences[: len(paired)] = values.max(axis=tuple(range(1, values.ndim)), initial=0.0)
    # A single NaN fails the stage, whatever share of the rows must agree.
    return (
        np.nan_to_num(differences, nan=np.inf)
        if np.isfinite(candidate).all()
        else np.full_like(differences, np.inf)
    )


def _row_record(
    case: str, name: str, differences: _Floats, limit: float, unit: str, share: float
) -> StageRecord:
    """A stage of rows: the largest difference once the worst ``1 - share`` are left to near-ties."""
    count = len(differences)
    if count == 0:
        return StageRecord(case, name, 0.0, limit, unit, 1.0, passed=True)
    deciding = float(np.sort(differences)[math.ceil(share * count) - 1])
    agreeing = float((differences <= limit).mean())
    return StageRecord(case, name, deciding, limit, unit, agreeing, passed=deciding <= limit)


def _detections_record(case: str, reference: _Floats, candidate: _Floats, limits: Limits) -> StageRecord:
    match = match_detections(candidate, reference, limits.score, limits.box)
    share, agree = _agreement(match, limits)
    if agree and np.isfinite(candidate).all() and not (np.diff(candidate[:, 1]) > 0).any():
        return StageRecord(case, "detections", match.box, limits.box, "px", share, passed=True)
    difference, limit, unit = _what_differs(reference, candidate, limits)
    return StageRecord(case, "detections", difference, limit, unit, share, passed=False)


def _agreement(match: Match, limits: Limits) -> tuple[float, bool]:
    """Share of the rows that have a partner, and whether they are enough."""
    # A row within reach of the score threshold may be above it in one run and below it in the other.
    undecided = [
        sum(score <= SCORE_THRESHOLD + limits.score for score in scores)
        for scores in (match.unmatched_expected, match.unmatched_obtained)
    ]
    rows = max(match.expected - undecided[0], match.obtained - undecided[1])
    share = match.matched / rows if rows else 1.0
    full = match.expected == MAX_DETECTIONS
    enough = share >= (limits.full_share if full else limits.detection_share)
    same = not limits.same_counts or abs(match.expected - match.obtained) <= sum(undecided)
    return share, enough and same


def _what_differs(reference: _Floats, candidate: _Floats, limits: Limits) -> tuple[float, float, str]:
    """Difference, limit and unit of what keeps detections from agreeing: they do once it is left out."""
    anything = float("inf")
    if not np.isfinite(candidate).all():
        return anything, limits.box, "px"
    if _agreement(match_detections(candidate, reference, limits.score, limits.box), limits)[1]:
        return float(np.diff(candidate[:, 1]).max()), 0.0, "in score, out of order"
    for score, box in ((anything, limits.box), (limits.score, anything), (anything, anything)):
        match = match_detections(candidate, reference, score, box)
        if _agreement(match, limits)[1]:
            in_score = box == limits.box
            return (match.score, limits.score, "in score") if in_score else (match.box, limits.box, "px")
    # Rows of one run, without the partners that have their labels.
    if other := min(match.expected, match.obtained) - match.matched:
        return float(other), 0.0, "labels"
    return float(abs(match.expected - match.obtained)), 0.0, "detections"
