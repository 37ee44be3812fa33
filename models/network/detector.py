"""The whole detector in Paddle: the reference that every engine is compared with.

Selection steps call Paddle's own operators, image by image. Apart from the table of base
anchors they share no code with the ONNX functions, so agreement between the two is evidence.
"""

from __future__ import annotations

import signal
import threading
from typing import Any, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.vision import ops

from pssdet.models.anchors import base_anchors
from pssdet.models.architecture import (
    MAX_DETECTIONS,
    MAX_LOG_SCALE,
    NMS_THRESHOLD,
    PADDING_MULTIPLE,
    ROI_CANONICAL_LEVEL,
    ROI_CANONICAL_SIZE,
    ROI_LEVELS,
    ROI_SIZE,
    RPN_MIN_SIZE,
    RPN_NMS_THRESHOLD,
    SCORE_THRESHOLD,
    Architecture,
)
from pssdet.models.network.layers import BoxHead, CascadeHead, Fpn, ResNetVd, RpnHead
from pssdet.models.numerics import Numerics

# Importing Paddle replaces the handler of SIGTERM by one that ends the process without clean-up.
paddle.disable_signal_handler()
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


class TwoStageDetector(nn.Layer):  # type: ignore[misc]
    """Faster or Cascade R-CNN of the PSS-DET family."""

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__()
        self.arch = arch
        self.numerics = numerics
        self.backbone = ResNetVd(arch)
        self.neck = Fpn(arch)
        self.rpn_head = RpnHead(arch)
        self.bbox_head = BoxHead(arch, numerics) if arch.num_heads == 1 else CascadeHead(arch)
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

    def forward(
        self, image: Tensor, image_size: Tensor, original_size: Tensor, scale_factor: Tensor
    ) -> dict[str, Any]:
        """Every stage of the detector.

        Args:
            image: float32 [N, 3, H, W], normalised RGB, H and W multiples of 32.
            image_size: float32 [N, 2], (h, w) of the content before padding.
            original_size: float32 [N, 2], (h, w) of the picture.
            scale_factor: float32 [N, 2], (y, x) network pixels per original pixel.

        Returns:
            The trunk's maps for the batch, and for every other stage a list with one
            entry per image (counts differ): proposals [R, 4], proposal_scores [R],
            roi_features [R, C, 7, 7], class_probabilities [R, classes + 1], decoded_boxes
            [R, classes, 4] (a cascade: [R, 1, 4], and features and regions of each head),
            detections [D, 6] (0-based label, score, x1, y1, x2, y2 in original pixels).
        """
        maps = self.trunk(image)
        images: list[dict[str, Tensor]] = []
        for index in range(image.shape[0]):
            of_one = {name: x[index : index + 1] for name, x in maps.items()}
            sizes = _Sizes(image_size[index], original_size[index], scale_factor[index])
            images.append(self._detect(of_one, sizes))
        return maps | {name: [stages[name] for stages in images] for name in images[0]}

    def _detect(self, maps: dict[str, Tensor], sizes: _Sizes) -> dict[str, Tensor]:
        proposals, scores = self._proposals(maps, sizes.image.unsqueeze(0))
        stages = {"proposals": proposals, "proposal_scores": scores}
        rois, last = proposals, self.arch.num_heads - 1
        for head in range(last):
            stages[f"roi_features_stage{head + 1}"] = features = self._roi_align(maps, rois)
            rois = self._decode(rois, self.bbox_head(features, head)[1], head)[:, 0]
            stages[f"rois_stage{head + 2}"] = rois
        features = self._roi_align(maps, rois)
        stages["roi_features" if last == 0 else f"roi_features_stage{last + 1}"] = features
        stages["class_probabilities"] = probabilities = self._probabilities(features)
        if self.numerics.decode_space == "original":
            rois = rois / sizes.scales
        stages["decoded_boxes"] = boxes = self._decode(rois, self.bbox_head(features, last)[1], last)
        stages["detections"] = self._finish(boxes, probabilities, sizes)
        return stages

    def _probabilities(self, features: Tensor) -> Tensor:
        """Softmax [R, classes + 1]; a cascade averages all heads on the last head's features."""
        each = [F.softmax(self.bbox_head(features, head)[0]) for head in range(self.arch.num_heads)]
        # The static program sums and multiplies by 1/3 in float32, which is not a division by 3.
        return each[0] if len(each) == 1 else sum(each[1:], each[0]) * (1.0 / len(each))

    def _finish(self, boxes: Tensor, probabilities: Tensor, sizes: _Sizes) -> Tensor:
        """Detections [D, 6] in original pixels."""
        if self.numerics.decode_space == "original":
            return self._suppress(boxes, probabilities, sizes.original)
        return _to_original_pixels(self._suppress(boxes, probabilities, sizes.image), sizes)

    def _proposals(self, maps: dict[str, Tensor], image_size: Tensor) -> tuple[Tensor, Tensor]:
        """The best proposals [R, 4] over all levels, and their scores [R]; ``image_size`` is [1, 2]."""
        bound = image_size
        if self.numerics.proposal_clip == "padded":
            bound = paddle.ceil(image_size / PADDING_MULTIPLE) * PADDING_MULTIPLE
        boxes, scores = [], []
        for level, stride in enumerate(self.arch.strides):
            logits = maps[f"rpn_score_p{level + 2}"]
            anchors = self._level_anchors(level, stride, logits.shape[2], logits.shape[3])
            level_boxes, level_scores, _ = ops.generate_proposals(
                F.sigmoid(logits) if self.numerics.proposal_scores == "probability" else logits,
                maps[f"rpn_delta_p{level + 2}"],
                bound,
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

    def _decode(self, rois: Tensor, deltas: Tensor, head: int) -> Tensor:
        """Boxes of the foreground [R, slots, 4] in the regions' own pixels, not clipped.

        Sources: ``delta2bbox`` of PaddleDetection, ``box_coder`` of Paddle (with a pixel offset).
        """
        if self.numerics.background == "first":
            deltas = deltas[:, 4:]
        offset = self.numerics.pixel_offset
        weights = paddle.to_tensor(self.arch.reg_weights[head])
        dx, dy, dw, dh = (deltas[:, side::4] / weights[side] for side in range(4))
        if self.numerics.clamp_box_deltas:
            dw, dh = paddle.clip(dw, max=MAX_LOG_SCALE), paddle.clip(dh, max=MAX_LOG_SCALE)
        width = rois[:, 2:3] - rois[:, 0:1] + offset
        height = rois[:, 3:4] - rois[:, 1:2] + offset
        x, y = rois[:, 0:1] + 0.5 * width, rois[:, 1:2] + 0.5 * height
        x, y = dx * width + x, dy * height + y
        half_width, half_height = 0.5 * (paddle.exp(dw) * width), 0.5 * (paddle.exp(dh) * height)
        corners = [x - half_width, y - half_height, x + half_width - offset, y + half_height - offset]
        return paddle.stack(corners, axis=-1)

    def _suppress(self, boxes: Tensor, probabilities: Tensor, size: Tensor) -> Tensor:
        """Clip to (h, w), then per-class NMS: rows [D, 6] in the boxes' own pixels, labels from 0."""
        first = self.numerics.background == "first"
        offset = self.numerics.pixel_offset
        bound = paddle.stack([size[1], size[0]] * 2) - offset
        clipped = paddle.maximum(paddle.minimum(boxes, bound), paddle.zeros([]))
        foreground = probabilities[:, 1:] if first else probabilities[:, :-1]
        # Paddle has no public name for its multi-class NMS.
        rows, _, counts = paddle._C_ops.multiclass_nms3(  # noqa: SLF001
            clipped.expand([-1, self.arch.num_classes, -1]),
            foreground,
            paddle.to_tensor([clipped.shape[0]], dtype="int32"),
            SCORE_THRESHOLD,
            -1,
            MAX_DETECTIONS,
            NMS_THRESHOLD,
            not offset,
            1.0,
            self.arch.num_classes,  # a background index beyond the columns: none of them is skipped
        )
        return rows[: int(counts.sum())]


class _Sizes(NamedTuple):
    """One image's sizes, each [2], (h, w) or (y, x)."""

    image: Tensor
    original: Tensor
    scale: Tensor

    @property
    def scales(self) -> Tensor:
        """The scale of each coordinate of a box, [4]."""
        return paddle.stack([self.scale[1], self.scale[0]] * 2)


def _to_original_pixels(detections: Tensor, sizes: _Sizes) -> Tensor:
    """Rows in original pixels, clipped to the original image; boxes without area are dropped.

    PaddleDetection's bound, ``floor(image_size / scale_factor + 0.5)``, may be a pixel off the picture.
    """
    bound = paddle.floor(sizes.image / sizes.scale + 0.5)
    limit = paddle.stack([bound[1], bound[0]] * 2)
    boxes = detections[:, 2:] / sizes.scales
    boxes = paddle.maximum(paddle.minimum(boxes, limit), paddle.zeros([]))
    valid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = paddle.concat([detections[:, :2], boxes], axis=1)
    return rows[valid]
