"""The detector that a configuration describes, and what both formats have in common."""

from __future__ import annotations

from typing import NamedTuple

from pssdet.models.architecture import (
    MAX_DETECTIONS,
    NMS_THRESHOLD,
    RPN_MIN_SIZE,
    RPN_NMS_THRESHOLD,
    SCORE_THRESHOLD,
    Architecture,
)
from pssdet.models.configuration.node import ConfigNode, ConfigValue
from pssdet.models.numerics import Numerics
from pssdet.models.reader import Preprocessing

#: What can be built: enough for every published two-stage detector, and little enough for a machine's memory.
MAX_CLASSES = 2000
MAX_CHANNELS = 512
MAX_HEAD_WIDTH = 4096
MAX_PRE_NMS = 12_000
MAX_PROPOSALS = 2000
MAX_SAMPLING_RATIO = 8
MAX_ANCHOR = 8192.0
MAX_RATIO = 100.0

#: Bottleneck blocks by depth; at depth 200 the original numbers its blocks in a way of its own.
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
#: Normalisations that compute alike once trained, under the same parameter names.
NORMS = ("bn", "sync_bn")


class Variant(NamedTuple):
    """A detector of the family."""

    architecture: Architecture
    numerics: Numerics
    preprocessing: Preprocessing


def resnet_blocks(resnet: ConfigNode, root: ConfigNode, default_norm: str) -> tuple[int, int, int, int]:
    """``ResNet`` of either format: blocks of a ResNet-vd of that depth, with a supported normalisation."""
    depth = resnet.get("depth", 50)
    depth.only(*BLOCKS)
    resnet.get("variant", "b").only("d")
    resnet.shared("norm_type", root, default_norm).only(*NORMS)
    return BLOCKS.get(depth.value, BLOCKS[50]) if isinstance(depth.value, int) else BLOCKS[50]


def proposal_counts(test: ConfigNode, default_pre: int, default_post: int) -> tuple[int, int]:
    """``test_proposal`` of either format: candidates per level, and proposals."""
    test.get("nms_thresh", 0.5).only(RPN_NMS_THRESHOLD)
    # Paddle's operator takes the larger of this and one pixel.
    test.get("min_size", 0.1).number(0.0, RPN_MIN_SIZE)
    test.get("eta", 1.0).only(1.0)
    before = test.get("pre_nms_top_n", default_pre).integer(1, MAX_PRE_NMS)
    return before, test.get("post_nms_top_n", default_post).integer(1, MAX_PROPOSALS)


def suppression(nms: ConfigNode) -> None:
    """What both formats' ``MultiClassNMS`` must say: it is part of the family."""
    nms.get("score_threshold", 0.05).only(SCORE_THRESHOLD)
    nms.get("nms_threshold", 0.5).only(NMS_THRESHOLD)
    nms.get("keep_top_k", 100).only(MAX_DETECTIONS)
    nms.get("nms_top_k", -1).only(-1)
    nms.get("nms_eta", 1.0).only(1.0)


def four(setting: ConfigValue, low: float, high: float) -> tuple[float, float, float, float]:
    """One number per coordinate of a box."""
    x, y, width, height = setting.numbers(4, low, high)
    return x, y, width, height
