"""Architecture of a detector, and the constants of the family."""

from __future__ import annotations

import msgspec


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Structure of one two-stage detector of the PSS-DET family.

    Attributes:
        blocks: bottleneck blocks in the layers res2..res5; (3, 4, 6, 3) is ResNet50-vd.
        stem_width: channels after the first two stem convolutions; the third doubles them.
        base_width: bottleneck width of res2; each later layer doubles it, outputs are 4x.
        dcn_stages: layers, 2 for res2 to 5 for res5, whose 3x3 convolutions are deformable (DCNv2).
        fpn_channels: channels of P2..P6.
        head_width: outputs of fc6 and fc7.
        num_classes: foreground classes.
        anchor_sizes: anchor side in network pixels, one per level P2..P6.
        anchor_ratios: height/width of the anchors of each position.
        pre_nms_top_n: candidates kept per level before NMS.
        post_nms_top_n: proposals kept per level after NMS, and in all.
        reg_weights: box regression weights (x, y, w, h), one row per second-stage head. One head
            is Faster R-CNN, with box deltas per class; a cascade's deltas are for all classes alike.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_width: int = 32
    base_width: int = 64
    dcn_stages: tuple[int, ...] = (3, 4, 5)
    fpn_channels: int = 64
    head_width: int = 1024
    num_classes: int = 80
    anchor_sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pre_nms_top_n: int = 500
    post_nms_top_n: int = 300
    reg_weights: tuple[tuple[float, float, float, float], ...] = ((10.0, 10.0, 5.0, 5.0),)

    @property
    def num_heads(self) -> int:
        """Second-stage heads in a row: 1 for Faster R-CNN, 3 for Cascade R-CNN."""
        return len(self.reg_weights)

    @property
    def strides(self) -> tuple[int, ...]:
        """Network pixels per map cell on P2, P3, ... (one per anchor size)."""
        return tuple(4 << level for level in range(len(self.anchor_sizes)))

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Output channels of res2..res5 (C2..C5)."""
        return tuple(4 * self.base_width << layer for layer in range(len(self.blocks)))


def block_names(layer: int, count: int) -> list[str]:
    """Names of a layer's blocks: res4a, res4b, ...; of more than ten (ResNet-101) res4a, res4b1, ...."""
    if count > 10:
        return [f"res{layer}a", *(f"res{layer}b{i}" for i in range(1, count))]
    return [f"res{layer}{chr(ord('a') + i)}" for i in range(count)]


#: Constants of the family, which all published rows share.
#: Readers pad with zeros at the right and the bottom to a multiple of this.
PADDING_MULTIPLE = 32
RPN_NMS_THRESHOLD = 0.7
RPN_MIN_SIZE = 1.0
ROI_SIZE = 7
ROI_CANONICAL_SIZE = 224.0
ROI_CANONICAL_LEVEL = 4
ROI_LEVELS = (2, 3, 4, 5)
SCORE_THRESHOLD = 0.05
NMS_THRESHOLD = 0.5
MAX_DETECTIONS = 100
#: Largest log-scale step of a box side, ln(1000 / 16): exp() stays finite for any delta.
MAX_LOG_SCALE = 4.135166556742356

CASCADE_REG_WEIGHTS = (
    (10.0, 10.0, 5.0, 5.0),
    (20.0, 20.0, 10.0, 10.0),
    (30.0, 30.0, 15.0, 15.0),
)
