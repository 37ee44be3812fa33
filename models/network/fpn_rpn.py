"""Feature pyramid and region proposal head, in Paddle, under the published parameter names."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from pssdet.models.architecture import Architecture


class Fpn(nn.Layer):  # type: ignore[misc]
    """C2..C5 to P2..P6: lateral 1x1, top-down nearest x2 and add, 3x3; P6 samples P5."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        channels = arch.fpn_channels
        top = len(arch.stage_widths) + 1
        self.laterals: list[nn.Layer] = []
        self.outputs: list[nn.Layer] = []
        for stage, width in enumerate(arch.stage_widths, start=2):
            suffix = "" if stage == top else "_lateral"
            lateral = nn.Conv2D(width, channels, 1)
            output = nn.Conv2D(channels, channels, 3, padding=1)
            self.laterals.append(self.add_sublayer(f"fpn_inner_res{stage}_sum{suffix}", lateral))
            self.outputs.append(self.add_sublayer(f"fpn_res{stage}_sum", output))

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
