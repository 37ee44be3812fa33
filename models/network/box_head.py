"""Second-stage heads, in Paddle, under the published parameter names.

Rows keep the column order of their era: with the background class first, the first four box deltas belong to
it and mean nothing. A cascade predicts eight: a background box and the one box of all classes.
"""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from pssdet.models.architecture import ROI_SIZE, Architecture
from pssdet.models.numerics import Numerics


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

    def forward(self, features: Tensor, stage: int = 0) -> tuple[Tensor, Tensor]:
        del stage  # there is one
        hidden = self.head(features)
        return self.bbox_score(hidden), self.bbox_delta(hidden)


class CascadeHead(nn.Layer):  # type: ignore[misc]
    """One head per cascade stage: class logits [R, classes + 1] and box deltas [R, 8]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.head = nn.LayerList([TwoFcHead(arch) for _ in range(arch.stages)])
        for stage in range(arch.stages):
            self.add_sublayer(f"bbox_score_stage{stage}", nn.Linear(arch.head_width, arch.num_classes + 1))
            self.add_sublayer(f"bbox_delta_stage{stage}", nn.Linear(arch.head_width, 8))

    def forward(self, features: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        hidden = self.head[stage](features)
        score, delta = getattr(self, f"bbox_score_stage{stage}"), getattr(self, f"bbox_delta_stage{stage}")
        return score(hidden), delta(hidden)
