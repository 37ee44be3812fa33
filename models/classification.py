"""Image classifiers as data: their architecture, which are published, and how their pictures are prepared.

The only one is the backbone that the detectors start from, with the head it was distilled with: by it the
headline's top-1 accuracy can be checked. The commands for detectors refuse it by its name.
"""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import Architecture
from pssdet.models.labels import numbered
from pssdet.models.reader import CentreCrop

#: What a classifier computes, in the order of the data; the last two are the exported model's outputs.
CLASSIFIER_STAGES = ("c2", "c3", "c4", "c5", "pooled", "logits", "probabilities")


class ClassifierArchitecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ResNet-vd without deformable convolutions, global average pooling, one linear layer.

    Attributes:
        blocks: bottleneck blocks in the layers res2..res5; (3, 4, 6, 3) is ResNet50-vd.
        stem_width: channels after the first two stem convolutions; the third doubles them.
        base_width: bottleneck width of res2; each later layer doubles it, outputs are 4x.
        num_classes: outputs.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_width: int = 32
    base_width: int = 64
    num_classes: int = 1000

    @property
    def backbone(self) -> Architecture:
        """What the detectors' backbone is built from, with nothing deformable."""
        return Architecture(blocks=self.blocks, stem_width=self.stem_width, base_width=self.base_width, dcn_stages=())


class ClassifierEntry(msgspec.Struct, frozen=True):
    """A published classifier.

    Attributes:
        name: what the commands call it.
        checkpoint: the address of its parameters.
        top1: published accuracy, percent of ImageNet-1k's 50,000 validation pictures.
        top5: the same for the best five.
        note: what a reader must know about the figures.
        sha256: of the checkpoint, where known.
    """

    name: str
    title: str
    checkpoint: str
    top1: float
    top5: float
    architecture: ClassifierArchitecture
    preprocessing: CentreCrop
    labels: tuple[str, ...]
    note: str = ""
    sha256: str = ""


#: Sources: PaddleClas 2.0, docs/en/models/ResNet_and_vd_en.md and its evaluation's configuration. Since 2.2 its
#: tables call "ResNet50_vd_ssld" what was "_v2" before, 83.0 %, in a file of this name in another folder.
RESNET50_VD_SSLD = ClassifierEntry(
    "resnet50_vd_ssld",
    "ResNet50-vd SSLD",
    "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/ResNet50_vd_ssld_pretrained.pdparams",
    82.39,
    96.1,
    ClassifierArchitecture(),
    CentreCrop(),
    numbered(1000),
    note="the file of the same name under dygraph/legendary_models/ is SSLD v2, published with 83.0 %",
)
