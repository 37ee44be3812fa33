"""The whole detector in Paddle: the reference that every engine is compared with.

The trunk and the head are ordinary layers. The selection steps call Paddle's own operators, image
by image; but for the table of base anchors they share no code with the ONNX functions that re-state
them: agreement means something.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.vision import ops

from pssdet.errors import BadInput
from pssdet.models.anchors import base_anchors
from pssdet.models.architecture import (
    MAX_DETECTIONS,
    MAX_LOG_SCALE,
    NMS_THRESHOLD,
    ROI_CANONICAL_LEVEL,
    ROI_CANONICAL_SIZE,
    ROI_LEVELS,
    ROI_SIZE,
    RPN_MIN_SIZE,
    RPN_NMS_THRESHOLD,
    SCORE_THRESHOLD,
    Architecture,
)
from pssdet.models.box_head import BoxHead
from pssdet.models.fpn_rpn import Fpn, RpnHead
from pssdet.models.numerics import DYGRAPH, Numerics
from pssdet.models.resnet_vd import ResNetVd

# Importing Paddle replaces the handler of SIGTERM by one that ends the process without clean-up.
paddle.disable_signal_handler()
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


class TwoStageDetector(nn.Layer):  # type: ignore[misc]
    """Faster R-CNN of the PSS-DET family.

    Args:
        arch: sizes and counts of the layers.
        numerics: conventions of the era the weights come from.
    """

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__()
        if numerics != DYGRAPH or len(arch.reg_weights) != 1:
            raise BadInput("this version computes single-stage detectors of the dygraph conventions only")
        self.arch = arch
        self.numerics = numerics
        self.backbone = ResNetVd(arch)
        self.neck = Fpn(arch)
        self.rpn_head = RpnHead(arch)
        self.bbox_head = BoxHead(arch)
        self.anchors = base_anchors(arch, numerics)

    def trunk(self, image: Tensor) -> dict[str, Tensor]:
        """Maps of a normalised image [N, 3, H, W]: c2..c5, p2..p5, rpn_score_p2.., rpn_delta_p2.. ."""
        features = self.backbone(image)
        pyramid = self.neck(features)
        scores, deltas = self.rpn_head(pyramid)
        maps = {f"c{level}": x for level, x in enumerate(features, start=2)}
        maps |= {f"p{level}": pyramid[level - 2] for level in ROI_LEVELS}
        maps |= {f"rpn_score_p{level}": x for level, x in enumerate(scores, start=2)}
        maps |= {f"rpn_delta_p{level}": x for level, x in enumerate(deltas, start=2)}
        return maps

    def forward(self, image: Tensor, image_size: Tensor, scale_factor: Tensor) -> dict[str, Any]:
        """Every stage of the detector.

        Args:
            image: float32 [N, 3, H, W], normalised RGB, H and W multiples of 32.
            image_size: float32 [N, 2], (h, w) of the content before padding.
            scale_factor: float32 [N, 2], (y, x) network pixels per original pixel.

        Returns:
            The trunk's maps for the batch, and for every other stage a list with one entry per
            image (counts differ): proposals [R, 4], proposal_scores [R], roi_features
            [R, C, 7, 7], class_probabilities [R, classes + 1], decoded_boxes [R, classes, 4],
            detections [D, 6] (label, score, x1, y1, x2, y2 in original pixels).
        """
        maps = self.trunk(image)
        images: list[dict[str, Tensor]] = []
        for index in range(image.shape[0]):
            of_one = {name: x[index : index + 1] for name, x in maps.items()}
            images.append(self._detect(of_one, image_size[index : index + 1], scale_factor[index]))
        return maps | {name: [stages[name] for stages in images] for name in images[0]}

    def _detect(self, maps: dict[str, Tensor], image_size: Tensor, scale_factor: Tensor) -> dict[str, Tensor]:
        proposals, proposal_scores = self._proposals(maps, image_size)
        features = self._roi_align(maps, proposals)
        logits, deltas = self.bbox_head(features)
        probabilities = F.softmax(logits)
        boxes = self._decode(proposals, deltas)
        detections = self._suppress(boxes, probabilities, image_size[0])
        return {
            "proposals": proposals,
            "proposal_scores": proposal_scores,
            "roi_features": features,
            "class_probabilities": probabilities,
            "decoded_boxes": boxes,
            "detections": _to_original_pixels(detections, image_size[0], scale_factor),
        }

    def _proposals(self, maps: dict[str, Tensor], image_size: Tensor) -> tuple[Tensor, Tensor]:
        """The best proposals [R, 4] over all levels, and their scores [R]."""
        boxes, scores = [], []
        for level, stride in enumerate(self.arch.strides):
            logits = maps[f"rpn_score_p{level + 2}"]
            anchors = self._level_anchors(level, stride, logits.shape[2], logits.shape[3])
            level_boxes, level_scores, _ = ops.generate_proposals(
                logits,
                maps[f"rpn_delta_p{level + 2}"],
                image_size,
                anchors,
                paddle.ones_like(anchors),
                pre_nms_top_n=self.arch.pre_nms_top_n,
                post_nms_top_n=self.arch.post_nms_top_n,
                nms_thresh=RPN_NMS_THRESHOLD,
                min_size=RPN_MIN_SIZE,
                pixel_offset=bool(self.numerics.pixel_offset),
                return_rois_num=True,
            )
            boxes.append(level_boxes)
            scores.append(level_scores[:, 0])
        all_boxes, all_scores = paddle.concat(boxes), paddle.concat(scores)
        best, order = paddle.topk(all_scores, min(self.arch.post_nms_top_n, all_scores.shape[0]))
        return paddle.gather(all_boxes, order), best

    def _level_anchors(self, level: int, stride: int, height: int, width: int) -> Tensor:
        """Anchors float32 [height, width, A, 4] of one level."""
        ys = paddle.arange(height, dtype="float32") * stride
        xs = paddle.arange(width, dtype="float32") * stride
        y, x = paddle.meshgrid(ys, xs)
        shifts = paddle.stack([x, y, x, y], axis=-1).unsqueeze(2)
        return shifts + paddle.to_tensor(self.anchors[level])

    def _roi_align(self, maps: dict[str, Tensor], proposals: Tensor) -> Tensor:
        """Region features [R, C, 7, 7], in the order of the proposals."""
        per_level, restore, counts = ops.distribute_fpn_proposals(
            proposals,
            min(ROI_LEVELS),
            max(ROI_LEVELS),
            ROI_CANONICAL_LEVEL,
            int(ROI_CANONICAL_SIZE),
            pixel_offset=bool(self.numerics.pixel_offset),
            rois_num=paddle.to_tensor([proposals.shape[0]], dtype="int32"),
        )
        features = [
            ops.roi_align(
                maps[f"p{level}"],
                per_level[index],
                counts[index],
                ROI_SIZE,
                spatial_scale=1.0 / self.arch.strides[index],
                sampling_ratio=self.numerics.roi_sampling_ratio,
                aligned=self.numerics.roi_aligned,
            )
            for index, level in enumerate(ROI_LEVELS)
            if per_level[index].shape[0] > 0
        ]
        return paddle.gather(paddle.concat(features), restore.flatten())

    def _decode(self, proposals: Tensor, deltas: Tensor) -> Tensor:
        """Per-class boxes [R, classes, 4] in network pixels, not clipped (``delta2bbox``)."""
        wx, wy, ww, wh = self.arch.reg_weights[0]
        width = proposals[:, 2:3] - proposals[:, 0:1]
        height = proposals[:, 3:4] - proposals[:, 1:2]
        x = proposals[:, 0:1] + 0.5 * width
        y = proposals[:, 1:2] + 0.5 * height
        dx, dy = deltas[:, 0::4] / wx, deltas[:, 1::4] / wy
        dw = paddle.clip(deltas[:, 2::4] / ww, max=MAX_LOG_SCALE)
        dh = paddle.clip(deltas[:, 3::4] / wh, max=MAX_LOG_SCALE)
        x, y = dx * width + x, dy * height + y
        half_width, half_height = 0.5 * (paddle.exp(dw) * width), 0.5 * (paddle.exp(dh) * height)
        corners = [x - half_width, y - half_height, x + half_width, y + half_height]
        return paddle.stack(corners, axis=-1)

    def _suppress(self, boxes: Tensor, probabilities: Tensor, image_size: Tensor) -> Tensor:
        """Clip to the image, then per-class NMS: rows [D, 6] in network pixels."""
        zero = paddle.zeros([])
        height, width = image_size[0], image_size[1]
        clipped = paddle.stack(
            [paddle.maximum(paddle.minimum(boxes[..., side], (width, height)[side % 2]), zero) for side in range(4)],
            axis=-1,
        )
        foreground = probabilities[:, :-1]
        # Paddle has no public name for its multi-class NMS.
        rows, _, counts = paddle._C_ops.multiclass_nms3(  # noqa: SLF001
            clipped,
            foreground,
            paddle.to_tensor([clipped.shape[0]], dtype="int32"),
            SCORE_THRESHOLD,
            -1,
            MAX_DETECTIONS,
            NMS_THRESHOLD,
            not self.numerics.pixel_offset,
            1.0,
            self.arch.num_classes,
        )
        return rows[: int(counts.sum())]


def _to_original_pixels(detections: Tensor, image_size: Tensor, scale_factor: Tensor) -> Tensor:
    """Rows in original pixels, clipped to the original image; boxes without area are dropped.

    The bound is ``floor(image_size / scale_factor + 0.5)`` as in PaddleDetection, which may differ
    by a pixel from the true size of the picture.
    """
    bound = paddle.floor(image_size / scale_factor + 0.5)
    scale = paddle.stack([scale_factor[1], scale_factor[0]] * 2)
    limit = paddle.stack([bound[1], bound[0]] * 2)
    boxes = detections[:, 2:] / scale
    boxes = paddle.maximum(paddle.minimum(boxes, limit), paddle.zeros([]))
    valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = paddle.concat([detections[:, :2], boxes], axis=1)
    return rows[valid]
