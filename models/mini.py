"""The bundled small detectors: the published ones' code, narrow and shallow, trained on rendered scenes."""

from __future__ import annotations

from pssdet.models.architecture import Architecture
from pssdet.models.reader import Preprocessing

#: Shapes of the rendered scenes in the order of the labels; COCO category ids are these plus one.
SHAPES = ("circle", "triangle", "square", "star", "cross", "ring", "crescent", "bar")

#: Row 4's structure: every stage has its second block only where that is cheap to train on a CPU.
MINI_FASTER = Architecture(
    blocks=(1, 2, 2, 1),
    stem_width=12,
    base_width=16,
    fpn_channels=32,
    head_width=256,
    num_classes=len(SHAPES),
    anchor_sizes=(16.0, 32.0, 64.0, 128.0, 256.0),
    pre_nms_top_n=200,
    post_nms_top_n=100,
)

#: Row 4's reader at 256 pixels.
MINI_PREPROCESSING = Preprocessing(256, 256, interpolation="cubic", resize="first")
