"""Feature pyramid, region proposal head and second-stage heads, in Paddle, under the published parameter names.

Second-stage heads keep the column order of their era: with the background class first, the first four box deltas
belong to it and mean nothing. A cascade predicts eight: a background box and the one box of all classes.
"""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from pssdet.models.architecture import ROI_SIZE, Architecture
from pssdet.models.numerics import Numerics


class Fpn(nn.Layer):  # type: ignore[misc]
    """C2..C5 to P2..P6: lateral 1x1, top-down nearest x2 and add, 3x3; P6 samples P5."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        channels = arch.fpn_channels
        top = len(arch.layer_widths) + 1
        self.laterals: list[nn.Layer] = []
        self.outputs: list[nn.Layer] = []
        for layer, width in enumerate(arch.layer_widths, start=2):
            suffix = "" if layer == top else "_lateral"
            lateral = nn.Conv2D(width, channels, 1)
            output = nn.Conv2D(channels, channels, 3, padding=1)
            self.laterals.append(self.add_sublayer(f"fpn_inner_res{layer}_sum{suffix}", lateral))
            self.outputs.append(self.add_sublayer(f"fpn_res{layer}_sum", output))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        inner = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for level in range(len(inner) - 1, 0, -1):
            inner[level - 1] = inner[level - 1] + F.interpolate(inner[level], scale_factor=2.0, mode="nearest")
        pyramid = [conv(x) for conv, x in zip(self.outputs, inner, strict=True)]
        pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))
        return pyramid


class RpnFeature(nn.Layer):  # type: ignore[misc]
    """The 3x3 convolution that scores and deltas share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rpn_conv = nn.Conv2D(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.rpn_conv(x))


class RpnHead(nn.Layer):  # type: ignore[misc]
    """Per level: objectness logits [N, A, h, w] and deltas [N, 4A, h, w], channel = anchor * 4 + k."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        anchors = len(arch.anchor_ratios)
        self.rpn_feat = RpnFeature(arch.fpn_channels)
        self.rpn_rois_score = nn.Conv2D(arch.fpn_channels, anchors, 1)
        self.rpn_rois_delta = nn.Conv2D(arch.fpn_channels, 4 * anchors, 1)

    def forward(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        features = [self.rpn_feat(level) for level in pyramid]
        return [self.rpn_rois_score(x) for x in features], [self.rpn_rois_delta(x) for x in features]


class TwoFcHead(nn.Layer):  # type: ignore[misc]
    """Region features [R, C, 7, 7], flattened in that order, through fc6 and fc7 with ReLU."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.inputs = arch.fpn_channels * ROI_SIZE * ROI_SIZE
        self.fc6 = nn.Linear(self.inputs, arch.head_width)
        self.fc7 = nn.Linear(arch.head_width, arch.head_width)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(features.reshape([-1, self.inputs])))))


class BoxHead(nn.Layer):  # type: ignore[misc]
    """Region features to class logits [R, classes + 1] and per-class box deltas [R, 4 * slots]."""

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__()
        slots = arch.num_classes + (numerics.background == "first")
        self.head = TwoFcHead(arch)
        self.bbox_score = nn.Linear(arch.head_width, arch.num_classes + 1)
        self.bbox_delta = nn.Linear(arch.head_width, 4 * slots)

    def forward(self, features: Tensor, head: int = 0) -> tuple[Tensor, Tensor]:
        del head  # there is one
        hidden = self.head(features)
        return self.bbox_score(hidden), self.bbox_delta(hidden)


class CascadeHead(nn.Layer):  # type: ignore[misc]
    """The heads of a cascade, one after the other: class logits [R, classes + 1] and box deltas [R, 8]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.head = nn.LayerList([TwoFcHead(arch) for _ in range(arch.num_heads)])
        for head in range(arch.num_heads):
            self.add_sublayer(f"bbox_score_stage{head}", nn.Linear(arch.head_width, arch.num_classes + 1))
            self.add_sublayer(f"bbox_delta_stage{head}", nn.Linear(arch.head_width, 8))

    def forward(self, features: Tensor, head: int) -> tuple[Tensor, Tensor]:
        hidden = self.head[head](features)
        score, delta = getattr(self, f"bbox_score_stage{head}"), getattr(self, f"bbox_delta_stage{head}")
        return score(hidden), delta(hidden)
