"""The ImageNet classifier in Paddle, and its way into a detector's backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray
from paddle import Tensor, nn

from pssdet.models.checkpoint_formats.checkpoint import load_checkpoint, match_parameters
from pssdet.models.checkpoint_formats.classifier_names import rename_classifier
from pssdet.models.classification import CLASSIFIER_STAGES, ClassifierArchitecture
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import load_parameters_into, parameter_shapes
from pssdet.models.network.resnet_vd import ResNetVd


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


def load_backbone(model: TwoStageDetector, checkpoint: Path) -> None:
    """Start a detector's backbone from a classifier's checkpoint, by name.

    A classifier has no deformable convolutions: the convolutions that predict their offsets keep what they
    have, zeros in a new model, and so do the layers behind the backbone. The linear layer is left out.

    Args:
        model: the detector, changed in place.
        checkpoint: a published ResNet-vd classifier of as many blocks.

    Raises:
        BadInput: it cannot be read, or is of another model; nothing was changed.
    """
    found = rename_classifier(load_checkpoint(checkpoint).parameters, model.arch, str(checkpoint))
    expected = {
        name: shape
        for name, shape in parameter_shapes(model).items()
        if name.startswith("backbone.") and ".conv_offset." not in name
    }
    backbone = {name: value for name, value in found.items() if name.startswith("backbone.")}
    load_parameters_into(model, match_parameters(backbone, expected, str(checkpoint)))
