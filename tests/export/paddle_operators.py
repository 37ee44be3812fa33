"""Paddle's own selection operators for one image, numpy in and out."""

import numpy as np
import paddle
from paddle.vision import ops

import pssdet.models.network.detector  # noqa: F401  puts right what importing Paddle does to signals


def _int32(*values):
    return paddle.to_tensor(values, dtype="int32")


def proposals_of_level(score_map, delta_map, bound, anchors, *, pre, post, threshold, offset):
    """Boxes [R, 4] and scores [R]; maps [A, h, w] and [4A, h, w], anchors [h, w, A, 4]."""
    anchors = paddle.to_tensor(anchors.astype(np.float32))
    boxes, scores, _ = ops.generate_proposals(
        paddle.to_tensor(score_map[None]),
        paddle.to_tensor(delta_map[None]),
        paddle.to_tensor(np.float32([bound])),
        anchors,
        paddle.ones_like(anchors),
        pre_nms_top_n=pre,
        post_nms_top_n=post,
        nms_thresh=threshold,
        min_size=1.0,
        pixel_offset=bool(offset),
        return_rois_num=True,
    )
    return boxes.numpy(), scores.numpy()[:, 0]


def detections(boxes, scores, *, score_threshold, nms_threshold, limit, offset):
    """Rows (label, score, x1, y1, x2, y2), by class and then by region; boxes [R, C, 4], scores [R, C]."""
    rows, _, counts = paddle._C_ops.multiclass_nms3(
        paddle.to_tensor(boxes),
        paddle.to_tensor(scores),
        _int32(len(boxes)),
        score_threshold,
        -1,
        limit,
        nms_threshold,
        not offset,
        1.0,
        scores.shape[1],  # a background class beyond the columns
    )
    return rows.numpy()[: int(counts.sum())]


def levels_of(boxes, offset):
    """The level of each box, 2 to 5."""
    levels, restore, _ = ops.distribute_fpn_proposals(
        paddle.to_tensor(boxes), 2, 5, 4, 224, pixel_offset=bool(offset), rois_num=_int32(len(boxes))
    )
    by_level = np.concatenate([[level] * len(x) for level, x in enumerate(levels, start=2)])
    return by_level[restore.numpy().reshape(-1)]


def roi_align(feature_map, boxes, stride, size=7, *, aligned, sampling_ratio):
    """Features [R, C, size, size] of the boxes on one map [C, h, w]."""
    return ops.roi_align(
        paddle.to_tensor(feature_map[None]),
        paddle.to_tensor(boxes),
        _int32(len(boxes)),
        size,
        spatial_scale=1 / stride,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    ).numpy()
