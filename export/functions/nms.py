"""``pssdet.MulticlassNms``: per-class NMS and the best detections of each image.

Source: ``multiclass_nms3`` of Paddle, reordered by score; equal scores keep its order (class, then proposal).
"""

from __future__ import annotations

import onnx

from pssdet.export.functions.proposals import ANY_SCORE, best_of, keep_selected, widened
from pssdet.export.tracing import Tracer, concat, function, where
from pssdet.models.architecture import MAX_DETECTIONS, NMS_THRESHOLD, SCORE_THRESHOLD
from pssdet.models.numerics import DYGRAPH, Numerics

NAME = "MulticlassNms"


def attributes(numerics: Numerics) -> dict[str, object]:
    """The call's attributes for one detector."""
    return {
        "score_threshold": SCORE_THRESHOLD,
        "nms_threshold": NMS_THRESHOLD,
        "max_detections": MAX_DETECTIONS,
        "pixel_offset": float(numerics.pixel_offset),
    }


def multiclass_nms() -> onnx.FunctionProto:
    """The function; inputs boxes [N, R, C or 1, 4], scores [N, R, C] and the count of regions int32 [N].

    Outputs, with D = max_detections: boxes float32 [N, D, 4], scores float32 [N, D] in falling
    order, labels int32 [N, D], count int32 [N]; past the count boxes and scores are 0, labels -1.
    """
    t = Tracer("nms_", attributes(DYGRAPH))
    boxes, scores, region_count = t.value("boxes"), t.value("scores"), t.value("region_count")
    batch, regions = scores.dim(0), scores.dim(1)

    exists = t.op("Range", 0, regions.scalar(), 1) < region_count.cast(onnx.TensorProto.INT64).reshape(-1, 1)
    scores = where(exists.unsqueeze(-1), scores, 0.0)
    # Each class of each image becomes a batch entry of its own: NMS then has one class.
    class_scores = t.op("Reshape", scores.transpose(0, 2, 1), concat([t.constant([-1, 1]), regions], 0))
    every_class = t.op("Expand", boxes, concat([batch, regions, scores.dim(2), t.constant([4])], 0))
    per_class = concat([t.constant([-1]), regions, t.constant([4])], 0)
    class_boxes = t.op("Reshape", every_class.transpose(0, 2, 1, 3), per_class)
    selected = t.op(
        "NonMaxSuppression",
        widened(class_boxes, t.attribute("pixel_offset")),
        class_scores,
        regions,
        t.attribute("nms_threshold"),
        t.attribute("score_threshold"),
    )
    kept = t.op("Reshape", keep_selected(class_scores, selected), concat([batch, t.constant([-1])], 0))
    most = t.attribute("max_detections")
    best, order = best_of(kept, most)
    found = best > ANY_SCORE
    candidates = t.op("Reshape", class_boxes, concat([batch, t.constant([-1, 4])], 0))
    t.op("Where", found.unsqueeze(-1), candidates.rows(order), 0.0, name="best_boxes")
    t.op("Where", found, best, 0.0, name="best_scores")
    t.op("Cast", where(found, order / regions, -1), to=onnx.TensorProto.INT32, name="labels")
    t.op("ReduceSum", found.cast(onnx.TensorProto.INT32), [1], keepdims=0, name="count")
    outputs = ["best_boxes", "best_scores", "labels", "count"]
    return function(NAME, t, [boxes, t.value("scores"), region_count], outputs)
