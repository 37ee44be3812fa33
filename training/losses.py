"""The detector with its four losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional

from pssdet.models.architecture import Architecture
from pssdet.models.detector import TwoStageDetector
from pssdet.models.numerics import Numerics
from pssdet.training.samples import Batch
from pssdet.training.targets import AnchorTargets, RegionTargets, anchor_targets, region_targets

#: Names of the losses, in the order of the curve's columns.
LOSSES = ("rpn_score", "rpn_box", "head_score", "head_box")

#: AP averages over overlaps up to 0.95, which ask more of the boxes than the losses' plain sum does.
_BOX_WEIGHT = 2.0

#: Share of the running statistics that a step keeps: batches are small, so many must be averaged.
_NORM_MOMENTUM = 0.98


class TrainableDetector(TwoStageDetector):
    """The same layers and selection steps, initialised for training from nothing."""

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__(arch, numerics)
        for layer in self.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._momentum = _NORM_MOMENTUM  # noqa: SLF001 - the layers' constructor leaves no choice
        heads = self.rpn_head, self.bbox_head
        for layer in (heads[0].rpn_rois_score, heads[0].rpn_rois_delta, heads[1].bbox_score, heads[1].bbox_delta):
            nn.initializer.Normal(std=0.01)(layer.weight)

    def losses(self, batch: Batch, rng: np.random.RandomState) -> dict[str, Tensor]:
        """The four losses of a batch, by name; ``rng`` samples anchors and regions."""
        maps = self.trunk(paddle.to_tensor(batch.image))
        return self._rpn_losses(maps, batch, rng) | self._head_losses(maps, batch, rng)

    def _rpn_losses(self, maps: dict[str, Tensor], batch: Batch, rng: np.random.RandomState) -> dict[str, Tensor]:
        logits, deltas, anchors = self._flat_rpn(maps)
        of_image = [anchor_targets(anchors, boxes, rng) for boxes in batch.boxes]
        chosen, positive = _flat_indices(of_image, len(anchors))
        wanted = np.concatenate([np.arange(len(each.rows)) < each.positive for each in of_image])
        score = functional.binary_cross_entropy_with_logits(
            paddle.gather(logits, paddle.to_tensor(chosen)), paddle.to_tensor(wanted.astype(np.float32))
        )
        targets = np.concatenate([each.deltas for each in of_image])
        return {"rpn_score": score, "rpn_box": _box_loss(deltas, positive, targets, len(chosen))}

    def _flat_rpn(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
        """Logits [N * K], deltas [N * K, 4] and anchors [K, 4], K anchors over all levels in one order."""
        logits, deltas, anchors = [], [], []
        for level, stride in enumerate(self.arch.strides):
            score, delta = maps[f"rpn_score_p{level + 2}"], maps[f"rpn_delta_p{level + 2}"]
            images, count, height, width = score.shape
            logits.append(score.transpose([0, 2, 3, 1]).reshape([images, -1]))
            split = delta.reshape([images, count, 4, height, width])
            deltas.append(split.transpose([0, 3, 4, 1, 2]).reshape([images, -1, 4]))
            anchors.append(self._level_anchors(level, stride, height, width).reshape([-1, 4]).numpy())
        flat = paddle.concat(logits, axis=1).flatten(), paddle.concat(deltas, axis=1).reshape([-1, 4])
        return *flat, np.concatenate(anchors)

    def _head_losses(self, maps: dict[str, Tensor], batch: Batch, rng: np.random.RandomState) -> dict[str, Tensor]:
        features, of_image = [], []
        for index, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
            of_one = {name: x[index : index + 1] for name, x in maps.items()}
            with paddle.no_grad():
                proposals, _ = self._proposals(of_one, paddle.to_tensor(batch.image_size[index : index + 1]))
            targets = region_targets(
                proposals.numpy(), boxes, labels, self.arch.num_classes, self.arch.reg_weights[0], rng
            )
            of_image.append(targets)
            features.append(self._roi_align(of_one, paddle.to_tensor(targets.boxes)))
        logits, deltas = self.bbox_head(paddle.concat(features))
        classes = np.concatenate([each.labels for each in of_image])
        positive = np.flatnonzero(classes < self.arch.num_classes)
        rows = positive * self.arch.num_classes + classes[positive]
        box = _box_loss(deltas.reshape([-1, 4]), rows, _deltas(of_image), len(classes))
        return {"head_score": functional.cross_entropy(logits, paddle.to_tensor(classes)), "head_box": box}


def _deltas(of_image: list[RegionTargets]) -> NDArray[np.float32]:
    return np.concatenate([each.deltas for each in of_image])


def _flat_indices(of_image: list[AnchorTargets], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sampled anchors, and the positive ones, as rows of all images' anchors."""
    chosen = [each.rows + image * count for image, each in enumerate(of_image)]
    positive = [rows[: each.positive] for rows, each in zip(chosen, of_image, strict=True)]
    return np.concatenate(chosen), np.concatenate(positive)


def _box_loss(deltas: Tensor, rows: NDArray[Any], targets: NDArray[np.float32], samples: int) -> Tensor:
    """L1 loss of the positive rows over the number of samples, negatives included."""
    if not len(rows):
        return 0.0 * deltas.sum()  # connected, so that every parameter has a gradient
    difference = paddle.gather(deltas, paddle.to_tensor(rows)) - paddle.to_tensor(targets)
    return _BOX_WEIGHT * difference.abs().sum() / samples
