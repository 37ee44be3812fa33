"""Second-stage head, in Paddle, under the published parameter names."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from pssdet.models.architecture import ROI_SIZE, Architecture


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
    """Region features to class logits [R, classes + 1] and per-class deltas [R, 4 * classes]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.head = TwoFcHead(arch)
        self.bbox_score = nn.Linear(arch.head_width, arch.num_classes + 1)
        self.bbox_delta = nn.Linear(arch.head_width, 4 * arch.num_classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.head(features)
        return self.bbox_score(hidden), self.bbox_delta(hidden)
