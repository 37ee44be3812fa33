"""``pssdet.MultilevelRoiAlign``: region features from the pyramid level that fits each region.

Source: ``distribute_fpn_proposals`` and ``roi_align`` of Paddle. ONNX's ``half_pixel`` mode is
aligned=True without a minimal region size, ``output_half_pixel`` is aligned=False with one.
"""

from __future__ import annotations

import onnx

from pssdet.export.tracing import Tracer, Value, concat, function, where
from pssdet.models.architecture import (
    ROI_CANONICAL_LEVEL,
    ROI_CANONICAL_SIZE,
    ROI_LEVELS,
    ROI_SIZE,
    Architecture,
)
from pssdet.models.numerics import DYGRAPH, Numerics

NAME = "MultilevelRoiAlign"

#: Added to a region's relative size before its level is chosen, as the originals did.
_SIZE_EPSILON = 1e-6
#: Pixels from the origin. Regions beyond see nothing but zeros, and their area is still finite.
_FARTHEST = 1e9


def attributes(arch: Architecture, numerics: Numerics) -> dict[str, object]:
    """The call's attributes for one detector."""
    return {
        "strides": list(arch.strides[: len(ROI_LEVELS)]),
        "min_level": min(ROI_LEVELS),
        "canonical_level": ROI_CANONICAL_LEVEL,
        "canonical_size": ROI_CANONICAL_SIZE,
        "pixel_offset": float(numerics.pixel_offset),
        "output_size": ROI_SIZE,
        "sampling_ratio": numerics.roi_sampling_ratio,
        "coordinate_transformation_mode": "half_pixel" if numerics.roi_aligned else "output_half_pixel",
    }


def multilevel_roi_align() -> onnx.FunctionProto:
    """The function; inputs P2..P5 [N, C, h, w] and regions [N, R, 4] in network pixels.

    Output: features [N * R, C, output_size, output_size], image by image in the regions'
    order. With sampling ratio 0 the regions must be clipped, or ONNX Runtime's table of
    samples outgrows the memory; with ``half_pixel`` none may be inverted, as in Paddle.
    """
    levels = len(ROI_LEVELS)
    t = Tracer("roi_align_", attributes(Architecture(), DYGRAPH))
    maps = [t.value(f"map_{i}") for i in range(levels)]
    rois = t.value("rois")
    flat = _finite(rois.reshape(-1, 4))
    level = _level_of(t, flat, levels)
    position = t.op("Range", 0, flat.dim(0).scalar(), 1)
    image = position / rois.dim(1)
    strides = t.attribute("strides").cast(onnx.TensorProto.FLOAT).split(levels, axis=0)

    members, features = [], []
    for index, feature_map in enumerate(maps):
        member = t.op("NonZero", t.op("Equal", level, index)).reshape(-1)
        # Strides are powers of two: dividing first is exact and leaves spatial_scale at 1.
        boxes = t.op("Gather", flat, member) / strides[index]
        features.append(_align(t, feature_map, boxes, t.op("Gather", image, member)))
        members.append(member)
    where_from = t.op("ScatterElements", position, concat(members, 0), position)
    t.op("Gather", concat(features, 0), where_from, name="features")
    return function(NAME, t, [*maps, rois], ["features"])


def _finite(boxes: Value) -> Value:
    """NaN becomes 0, infinity far: ONNX Runtime refuses a batch with a region that is not finite.

    A cascade's earlier head gives such regions if its features or deltas are not finite.
    """
    known = where(boxes.tracer.op("IsNaN", boxes), 0.0, boxes)
    return known.at_most(_FARTHEST).at_least(-_FARTHEST)


def _level_of(t: Tracer, boxes: Value, levels: int) -> Value:
    """Index of the level of each box, int64 [M]: floor(log2(size / canonical)) by comparisons.

    The rounding of a logarithm would differ between engines just where a box changes
    its level. An inverted box has no area, as in Paddle: it is on the first level.
    """
    x1, y1, x2, y2 = boxes.split(4)
    offset = t.attribute("pixel_offset")
    proper = (x2 >= x1) & (y2 >= y1)
    side = t.op("Sqrt", where(proper, (x2 - x1 + offset) * (y2 - y1 + offset), 0.0))
    relative = side / t.attribute("canonical_size") + _SIZE_EPSILON
    lowest = t.attribute("min_level") - t.attribute("canonical_level")
    steps = lowest + t.constant(list(range(1, levels)))
    bounds = t.op("Pow", 2.0, steps.cast(onnx.TensorProto.FLOAT))
    passed = (relative >= bounds).cast(onnx.TensorProto.INT64)
    return t.op("ReduceSum", passed, [1], keepdims=0)


def _align(t: Tracer, feature_map: Value, boxes: Value, image: Value) -> Value:
    return t.op(
        "RoiAlign",
        feature_map,
        boxes,
        image,
        mode="avg",
        coordinate_transformation_mode=t.ref("coordinate_transformation_mode"),
        output_height=t.ref("output_size"),
        output_width=t.ref("output_size"),
        sampling_ratio=t.ref("sampling_ratio"),
        spatial_scale=1.0,
    )
