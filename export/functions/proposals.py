"""``pssdet.GenerateProposals``: from RPN maps to proposals, as an ONNX function.

Source: ``generate_proposals_v2`` of Paddle and the joint selection over levels in PaddleDetection's
``RPNHead``. Levels are stacked on an axis of their own, so that decoding and NMS run once for the
whole batch; scores of -inf stand for "no candidate" and keep every shape constant.
"""

from __future__ import annotations

import numpy as np
import onnx

from pssdet.export.tracing import Tracer, Value, concat, function, top_k, where
from pssdet.models.anchors import base_anchors
from pssdet.models.architecture import (
    MAX_LOG_SCALE,
    PADDING_MULTIPLE,
    RPN_MIN_SIZE,
    RPN_NMS_THRESHOLD,
    Architecture,
)
from pssdet.models.numerics import DYGRAPH, Numerics

NAME = "GenerateProposals"
NOTHING = -np.inf
#: Below every finite score; ONNX's NMS drops what does not exceed it, which is what -inf marks.
ANY_SCORE = -3e38


def attributes(arch: Architecture, numerics: Numerics) -> dict[str, object]:
    """The call's attributes for one detector."""
    return {
        "anchors": base_anchors(arch, numerics).reshape(-1).tolist(),
        "strides": list(arch.strides),
        "pre_nms_top_n": arch.pre_nms_top_n,
        "post_nms_top_n": arch.post_nms_top_n,
        "nms_threshold": RPN_NMS_THRESHOLD,
        "min_size": RPN_MIN_SIZE,
        "pixel_offset": float(numerics.pixel_offset),
        "clip_multiple": float(PADDING_MULTIPLE if numerics.proposal_clip == "padded" else 1),
    }


def generate_proposals(arch: Architecture) -> onnx.FunctionProto:
    """The function for a detector with that many levels and anchors.

    Inputs: per level a score map [N, A, h, w], then per level a delta map [N, 4A, h, w], then
    image_size [N, 2] (h, w). Outputs, with R = post_nms_top_n: proposals float32 [N, R, 4] in network
    pixels and their scores [N, R], best first, zero boxes and -inf past the count; the count int32 [N].
    """
    levels, per_cell = len(arch.strides), len(arch.anchor_ratios)
    t = Tracer("proposals_", attributes(arch, DYGRAPH))
    score_maps = [t.value(f"score_{i}") for i in range(levels)]
    delta_maps = [t.value(f"delta_{i}") for i in range(levels)]
    image_size = t.value("image_size")
    top_n = t.attribute("pre_nms_top_n")

    picked = [_best_of_level(s, d, top_n) for s, d in zip(score_maps, delta_maps, strict=True)]
    scores, indices, deltas = (concat([level[part].unsqueeze(1) for level in picked], 1) for part in range(3))
    widths = concat([s.dim(3) for s in score_maps], 0).reshape(levels, 1)

    anchors = _anchors(t, indices, widths, levels, per_cell)
    offset = t.attribute("pixel_offset")
    boxes = _clip(decode(anchors, deltas, offset), image_size, t.attribute("clip_multiple"), offset)
    scores = where(_large_enough(boxes, t.attribute("min_size"), offset), scores, NOTHING)
    _select(t, concat(boxes, -1), scores, image_size.dim(0), offset)
    outputs = ["proposals", "scores", "count"]
    return function(NAME, t, [*score_maps, *delta_maps, image_size], outputs)


def _best_of_level(score_map: Value, delta_map: Value, top_n: Value) -> tuple[Value, Value, Value]:
    """The level's best scores [N, k], their flat (y, x, anchor) indices [N, k] and deltas [N, k, 4]."""
    flat = score_map.transpose(0, 2, 3, 1).reshape(0, -1)
    deltas = delta_map.transpose(0, 2, 3, 1).reshape(0, -1, 4)
    scores, indices = best_of(flat, top_n)
    return scores, indices, deltas.rows(indices)


def _anchors(t: Tracer, indices: Value, widths: Value, levels: int, per_cell: int) -> Value:
    """Anchors [N, L, k, 4] of flat indices [N, L, k]; only those needed are ever computed."""
    cell = indices / per_cell
    y = cell / widths
    x = cell - y * widths
    kind = indices - cell * per_cell + np.arange(levels).reshape(levels, 1) * per_cell
    table = t.attribute("anchors").reshape(levels * per_cell, 4)
    corners = concat([v.unsqueeze(-1) for v in (x, y, x, y)], -1)
    strides = t.attribute("strides").reshape(levels, 1, 1)
    return t.op("Gather", table, kind) + (corners * strides).cast(onnx.TensorProto.FLOAT)


def decode(boxes: Value, deltas: Value, offset: Value, *, clamp: bool = True) -> list[Value]:
    """Boxes [..., 4] moved and scaled by deltas [..., 4]: corners x1, y1, x2, y2, each [..., 1].

    ``clamp`` limits dw and dh, so that exp() stays finite for any delta.
    """
    x1, y1, x2, y2 = boxes.split(4)
    dx, dy, dw, dh = deltas.split(4)
    if clamp:
        dw, dh = dw.at_most(MAX_LOG_SCALE), dh.at_most(MAX_LOG_SCALE)
    low_x, high_x = _decode_axis(x1, x2, dx, dw, offset)
    low_y, high_y = _decode_axis(y1, y2, dy, dh, offset)
    return [low_x, low_y, high_x, high_y]


def _decode_axis(low: Value, high: Value, shift: Value, log_scale: Value, offset: Value) -> tuple[Value, Value]:
    size = high - low + offset
    centre = shift * size + (low + size * 0.5)
    half = log_scale.tracer.op("Exp", log_scale) * size * 0.5
    return centre - half, centre + half - offset


def _clip(boxes: list[Value], image_size: Value, multiple: Value, offset: Value) -> list[Value]:
    bound = image_size.tracer.op("Ceil", image_size / multiple) * multiple - offset
    height, width = bound.reshape(0, 1, 1, 2).split(2)
    return [box.at_most(limit).at_least(0.0) for box, limit in zip(boxes, (width, height) * 2, strict=True)]


def _large_enough(boxes: list[Value], min_size: Value, offset: Value) -> Value:
    """Whether both sides reach the minimum, [N, L, k]; false for NaN."""
    x1, y1, x2, y2 = boxes
    return ((x2 - x1 + offset >= min_size) & (y2 - y1 + offset >= min_size)).reshape(0, 0, 0)


def _select(t: Tracer, boxes: Value, scores: Value, batch: Value, offset: Value) -> None:
    """NMS within each level of each image, then the best over all levels."""
    post_top_n = t.attribute("post_nms_top_n")
    k = scores.dim(2)
    per_level = t.op("Reshape", boxes, concat([t.constant([-1]), k, t.constant([4])], 0))
    level_scores = t.op("Reshape", scores, concat([t.constant([-1, 1]), k], 0))
    threshold = t.attribute("nms_threshold")
    per_level = widened(per_level, offset)
    selected = t.op("NonMaxSuppression", per_level, level_scores, post_top_n, threshold, ANY_SCORE)
    kept = keep_selected(level_scores, selected)
    joint = t.op("Reshape", kept, concat([batch, t.constant([-1])], 0))
    candidates = t.op("Reshape", boxes, concat([batch, t.constant([-1, 4])], 0))
    best, order = best_of(joint, post_top_n)
    exists = best > ANY_SCORE
    t.op("Where", exists.unsqueeze(-1), candidates.rows(order), 0.0, name="proposals")
    t.op("Identity", best, name="scores")
    t.op("ReduceSum", exists.cast(onnx.TensorProto.INT32), [1], keepdims=0, name="count")


def widened(boxes: Value, offset: Value) -> Value:
    """Boxes [..., 4] as NMS without a pixel offset must see them to find the same overlaps.

    An inverted box overlaps nothing in Paddle, whereas ONNX Runtime would turn it round: it becomes a point.
    """
    x1, y1, x2, y2 = boxes.split(4)
    proper = (x2 >= x1) & (y2 >= y1)
    return where(proper, concat([x1, y1, x2 + offset, y2 + offset], -1), 0.0)


def best_of(scores: Value, count: Value) -> tuple[Value, Value]:
    """The best of scores [N, M] and their indices, both [N, count]; past M -inf and the last index."""
    pads = concat([scores.tracer.constant([0, 0, 0]), count.reshape(1)], 0)
    best, order = top_k(scores.tracer.op("Pad", scores, pads, NOTHING), count)
    return best, order.at_most(scores.dim(1) - 1)


def keep_selected(scores: Value, selected: Value) -> Value:
    """Scores [B, 1, K] where the ``selected`` indices [S, 3] of NonMaxSuppression point, -inf elsewhere."""
    t = scores.tracer
    nothing = t.op("Expand", t.constant(NOTHING), t.op("Shape", scores))
    return t.op("ScatterND", nothing, selected, t.op("GatherND", scores, selected))
