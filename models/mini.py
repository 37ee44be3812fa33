"""The bundled small detectors: the published ones' code, narrow and shallow, trained on rendered scenes."""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import CASCADE_REG_WEIGHTS, Architecture
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

#: The structure of rows 2 and 3 on the same trunk; three heads of half the width weigh what one did.
MINI_CASCADE = msgspec.structs.replace(MINI_FASTER, head_width=128, reg_weights=CASCADE_REG_WEIGHTS)

#: The reader of rows 2 and 3 at 256 pixels.
MINI_CASCADE_PREPROCESSING = Preprocessing(256, 256, interpolation="linear", resize="last")
