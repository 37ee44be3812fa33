"""The ImageNet classifier in Paddle."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray
from paddle import Tensor, nn

from pssdet.models.classification import CLASSIFIER_STAGES, ClassifierArchitecture
from pssdet.models.network.layers import ResNetVd


class Classifier(nn.Layer):  # type: ignore[misc]
    """The detectors' backbone without deformable convolutions, mean over the map, one linear layer."""

    def __init__(self, arch: ClassifierArchitecture) -> None:
        super().__init__()
        self.arch = arch
        self.backbone = ResNetVd(arch.backbone)
        self.fc = nn.Linear(arch.backbone.layer_widths[-1], arch.num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Every stage of a normalised image [N, 3, H, W] of any size.

        Returns:
            The maps c2..c5, pooled [N, C], logits [N, classes] and probabilities [N, classes].
        """
        features = self.backbone(image)
        pooled = paddle.mean(features[-1], axis=[2, 3])
        logits = self.fc(pooled)
        values = (*features, pooled, logits, F.softmax(logits, axis=-1))
        return dict(zip(CLASSIFIER_STAGES, values, strict=True))


def run_classifier(model: Classifier, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Every stage of a batch [N, 3, H, W], as arrays."""
    with paddle.no_grad():
        return {name: value.numpy() for name, value in model(paddle.to_tensor(image)).items()}
