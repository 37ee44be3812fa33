"""The detector as it is trained: targets and samples of its two heads, in NumPy, and its four losses.

Assignment and sampling are those of Faster R-CNN (Ren et al., 2015, sections 3.1.2 and 3.1.3) with the
pyramid's settings (Lin et al., 2017, section 5), a cascade's that of Cai and Vasconcelos (2018). Boxes are
x1 y1 x2 y2; ``offset`` is the pixel offset of ``Numerics``: a side is x2 - x1 + offset pixels long.

Untrained, a deformable convolution samples two pixels down and to the right of its place, and its masks are one
half: it equals a plain convolution with half the weights on a shifted map. Paddle's deformable convolution is
several times slower backwards on a CPU, so a run from nothing first computes just that plain convolution; then
the offsets and masks learn too.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional

from pssdet.errors import BadInput
from pssdet.models.architecture import Architecture
from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint
from pssdet.models.matching import box_ious
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import TAPS, ConvNorm
from pssdet.models.numerics import Numerics
from pssdet.models.parameters import resolve_weights
from pssdet.training.samples import Batch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ANCHOR_POSITIVE = 0.7
ANCHOR_NEGATIVE = 0.3
ANCHOR_SAMPLES = 256
#: Overlap with a box that makes a region positive, by stage.
REGION_POSITIVE = (0.5, 0.6, 0.7)
REGION_SAMPLES = 128
REGION_POSITIVE_SHARE = 0.25
_RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class AnchorTargets(NamedTuple):
    """Sampled anchors of one image.

    Attributes:
        rows: int64 [S], which anchors; positives first.
        positive: number of positives.
        deltas: float32 [positive, 4], from each positive anchor to its box.
    """

    rows: Ints
    positive: int
    deltas: Floats


class RegionTargets(NamedTuple):
    """One image's regions that are on a box; the others are background.

    Attributes:
        rows: int64 [P], which regions.
        labels: int64 [P], 0-based.
        deltas: float32 [P, 4], from each to its box.
    """

    rows: Ints
    labels: Ints
    deltas: Floats


def overlaps(first: Floats, second: Floats, offset: int) -> Floats:
    """IoU of every pair, float32 [A, B], where a box ends ``offset`` pixels after its x2, y2."""
    ends = np.array([0, 0, offset, offset], np.float64)
    return box_ious(first + ends, second + ends).astype(np.float32)


def encode(regions: Floats, boxes: Floats, weights: tuple[float, float, float, float], offset: int) -> Floats:
    """Deltas [R, 4] that move each region to its box: what the detector's decoding undoes.

    Source: Girshick et al., 2014, appendix C, times the configuration's weights.
    """
    size, target_size = (corners[:, 2:] - corners[:, :2] + offset for corners in (regions, boxes))
    centre, target = regions[:, :2] + 0.5 * size, boxes[:, :2] + 0.5 * target_size
    deltas = np.concatenate([(target - centre) / size, np.log(target_size / size)], axis=1)
    return np.asarray(deltas * np.array(weights), np.float32)


def anchor_targets(anchors: Floats, boxes: Floats, offset: int, rng: np.random.RandomState) -> AnchorTargets:
    """Anchors to learn from: overlapping a box by 0.7, or best for a box; and others below 0.3 with all."""
    if len(boxes):
        table = overlaps(anchors, boxes, offset)
        best = table.max(axis=1)
        matched = table.argmax(axis=1)
        positive = best >= ANCHOR_POSITIVE
        # Each box keeps its best anchors, however little they overlap it.
        closest = table.max(axis=0)
        rows, columns = np.nonzero((table == closest) & (closest > 0))
        positive[rows] = True
        matched[rows] = columns
    else:
        best = np.zeros(len(anchors), np.float32)
        matched = np.zeros(len(anchors), np.int64)
        positive = np.zeros(len(anchors), bool)
    chosen = _choose(np.flatnonzero(positive), ANCHOR_SAMPLES // 2, rng)
    rest = _choose(np.flatnonzero(~positive & (best < ANCHOR_NEGATIVE)), ANCHOR_SAMPLES - len(chosen), rng)
    deltas = np.zeros((0, 4), np.float32)
    if len(chosen):
        deltas = encode(anchors[chosen], boxes[matched[chosen]], _RPN_WEIGHTS, offset)
    return AnchorTargets(np.concatenate([chosen, rest]), len(chosen), deltas)


def sample_regions(proposals: Floats, boxes: Floats, offset: int, rng: np.random.RandomState) -> Floats:
    """Regions float32 [S, 4] to learn from: proposals and the boxes, at most a quarter of them positive."""
    regions = np.concatenate([proposals, boxes], dtype=np.float32)
    best = overlaps(regions, boxes, offset).max(axis=1, initial=0.0)
    most = int(REGION_SAMPLES * REGION_POSITIVE_SHARE)
    positive = _choose(np.flatnonzero(best >= REGION_POSITIVE[0]), most, rng)
    negative = _choose(np.flatnonzero(best < REGION_POSITIVE[0]), REGION_SAMPLES - len(positive), rng)
    return np.asarray(regions[np.concatenate([positive, negative])], np.float32)


def region_targets(
    regions: Floats,
    boxes: Floats,
    labels: Ints,
    least: float,
    weights: tuple[float, float, float, float],
    offset: int,
) -> RegionTargets:
    """The right labels and deltas of a stage's regions.

    Args:
        least: overlap from which a region is of the box it overlaps most.
        weights: of the deltas.
    """
    if not len(boxes):
        return RegionTargets(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    table = overlaps(regions, boxes, offset)
    rows = np.flatnonzero(table.max(axis=1) >= least)
    matched = table.argmax(axis=1)[rows]
    return RegionTargets(rows, labels[matched], encode(regions[rows], boxes[matched], weights, offset))


def _choose(candidates: Ints, most: int, rng: np.random.RandomState) -> Ints:
    return candidates if len(candidates) <= most else rng.permutation(candidates)[:most]


#: Names of the losses, in the order of the curve's columns.
LOSSES = ("rpn_score", "rpn_box", "head_score", "head_box")

#: AP averages over overlaps up to 0.95, which ask more of the boxes than the losses' plain sum does.
_BOX_WEIGHT = 2.0

#: Of the stages' losses in a cascade: the later ones see better boxes and fewer background regions.
_STAGE_WEIGHTS = (1.0, 0.5, 0.25)

#: Share of the running statistics that a step keeps: batches are small, so many must be averaged.
_NORM_MOMENTUM = 0.98

#: How far an untrained deformable convolution samples beside its place, pixels of its input, down and to the
#: right. What comes after learns to expect that, so a detector whose offsets are lost is seen to be broken.
_INITIAL_SHIFT = 2
#: What it multiplies with: sigmoid(0).
_INITIAL_MASK = 0.5


class TrainableDetector(TwoStageDetector):
    """The same layers and selection steps, initialised for training from nothing."""

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__(arch, numerics)
        for layer in self.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._momentum = _NORM_MOMENTUM  # noqa: SLF001 - the layers' constructor leaves no choice
            if isinstance(layer, ConvNorm) and layer.conv_offset is not None:
                layer.conv_offset.bias.set_value(_initial_offset_bias())
        for name, layer in self.named_sublayers():
            if name.rpartition(".")[2].startswith(("rpn_rois_", "bbox_score", "bbox_delta")):
                nn.initializer.Normal(std=0.01)(layer.weight)

    def start_from(self, source: str) -> None:
        """Take every parameter that another detector's checkpoint has under the same name and shape.

        Args:
            source: file, URL or ``bundled:FILE``.

        Raises:
            BadInput: the checkpoint cannot be read, or has no such parameter.
        """
        found, own = read_checkpoint(resolve_weights(source)), self.state_dict()
        same = {name: x for name, x in found.items() if name in own and [*x.shape] == own[name].shape}
        if not same:
            raise BadInput(f"{source} shares no parameter with the detector; start from another one")
        self.set_state_dict(own | {name: paddle.to_tensor(x) for name, x in same.items()})

    def set_deforming(self, *, on: bool) -> None:
        """Let the deformable convolutions deform, or compute them as plain ones."""
        for layer in self.sublayers():
            if isinstance(layer, ConvNorm) and layer.conv_offset is not None:
                forward = ConvNorm.forward if on else _forward_undeformed
                layer.forward = partial(forward, layer)  # type: ignore[method-assign]

    def losses(self, batch: Batch, rng: np.random.RandomState) -> dict[str, Tensor]:
        """The four losses of a batch, by name; ``rng`` samples anchors and regions."""
        maps = self.trunk(paddle.to_tensor(batch.image))
        return self._rpn_losses(maps, batch, rng) | self._head_losses(maps, batch, rng)

    def _rpn_losses(
        self, maps: dict[str, Tensor], batch: Batch, rng: np.random.RandomState
    ) -> dict[str, Tensor]:
        logits, deltas, anchors = self._flat_rpn(maps)
        of_image = [anchor_targets(anchors, boxes, self.numerics.pixel_offset, rng) for boxes in batch.boxes]
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

    def _head_losses(
        self, maps: dict[str, Tensor], batch: Batch, rng: np.random.RandomState
    ) -> dict[str, Tensor]:
        """A cascade's stage learns from the boxes of the stage before it; the losses are summed by weight."""
        of_image = [
            {name: x[index : index + 1] for name, x in maps.items()} for index in range(len(batch.boxes))
        ]
        regions = [self._sampled_regions(of_one, batch, index, rng) for index, of_one in enumerate(of_image)]
        score, box = paddle.zeros([]), paddle.zeros([])
        for stage in range(self.arch.num_heads):
            features = [self._roi_align(*each) for each in zip(of_image, regions, strict=True)]
            logits, deltas = self.bbox_head(paddle.concat(features), stage)
            of_score, of_box = self._stage_losses(logits, deltas, regions, batch, stage)
            score, box = score + _STAGE_WEIGHTS[stage] * of_score, box + _STAGE_WEIGHTS[stage] * of_box
            if stage + 1 < self.arch.num_heads:
                regions = self._next_regions(regions, deltas, stage)
        return {"head_score": score, "head_box": box}

    def _sampled_regions(
        self, maps: dict[str, Tensor], batch: Batch, index: int, rng: np.random.RandomState
    ) -> Tensor:
        with paddle.no_grad():
            proposals, _ = self._proposals(maps, paddle.to_tensor(batch.image_size[index : index + 1]))
        regions = sample_regions(proposals.numpy(), batch.boxes[index], self.numerics.pixel_offset, rng)
        return paddle.to_tensor(regions)

    def _next_regions(self, regions: list[Tensor], deltas: Tensor, stage: int) -> list[Tensor]:
        """The boxes that a stage of a cascade gives the next one; no gradient goes through them."""
        with paddle.no_grad():
            boxes = self._decode(paddle.concat(regions), deltas, stage)[:, 0]
        ends = np.cumsum([len(each) for each in regions])[:-1]
        return [paddle.to_tensor(each) for each in np.split(boxes.numpy(), ends)]

    def _stage_losses(
        self, logits: Tensor, deltas: Tensor, regions: list[Tensor], batch: Batch, stage: int
    ) -> tuple[Tensor, Tensor]:
        """Score and box loss of one stage, whose regions are those of all images in a row."""
        least, weights, offset = (
            REGION_POSITIVE[stage],
            self.arch.reg_weights[stage],
            self.numerics.pixel_offset,
        )
        targets = [
            region_targets(each.numpy(), boxes, labels, least, weights, offset)
            for each, boxes, labels in zip(regions, batch.boxes, batch.labels, strict=True)
        ]
        starts = np.cumsum([0, *(len(each) for each in regions)])
        positive = np.concatenate([start + each.rows for start, each in zip(starts, targets, strict=False)])
        labels = np.concatenate([each.labels for each in targets])
        first = int(self.numerics.background == "first")
        classes = np.full(int(starts[-1]), 0 if first else self.arch.num_classes)
        classes[positive] = labels + first
        # A cascade has one box for all classes, in the second of its two slots.
        slots = deltas.shape[1] // 4
        slot = labels + first if self.arch.num_heads == 1 else np.ones_like(labels)
        wanted = np.concatenate([each.deltas for each in targets])
        box = _box_loss(deltas.reshape([-1, 4]), positive * slots + slot, wanted, len(classes))
        return functional.cross_entropy(logits, paddle.to_tensor(classes)), box


def _initial_offset_bias() -> Floats:
    """Bias float32 [27] of an offset convolution: (dy, dx) of each tap, then nine mask logits."""
    return np.repeat(np.array([_INITIAL_SHIFT, 0], np.float32), (2 * TAPS, TAPS))


def _forward_undeformed(layer: ConvNorm, x: Tensor) -> Tensor:
    """What the layer computes as long as its offset convolution is untrained."""
    start, end = _INITIAL_SHIFT - 1, _INITIAL_SHIFT + 1  # a 3x3 kernel reaches one pixel beyond its centre
    padding = [[0, 0], [0, 0], [0, end], [0, end]]
    shifted, weight = x[:, :, start:, start:], _INITIAL_MASK * layer.conv.weight
    y = layer.norm(functional.conv2d(shifted, weight, stride=layer.conv.stride, padding=padding))
    return functional.relu(y) if layer.act else y


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
