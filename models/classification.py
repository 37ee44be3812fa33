"""Image classifiers as data: the distilled backbone whose top-1 accuracy is in the headline."""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import Architecture
from pssdet.models.labels import numbered
from pssdet.models.reader import CentreCrop

#: What a classifier computes, in the order of the data; the last two are the exported model's outputs.
CLASSIFIER_STAGES = ("c2", "c3", "c4", "c5", "pooled", "logits", "probabilities")


class ClassifierArchitecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ResNet-vd without DCN, global average pooling, one linear layer; see ``Architecture``."""

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_width: int = 32
    base_width: int = 64
    num_classes: int = 1000

    @property
    def backbone(self) -> Architecture:
        """What the detectors' backbone is built from, with nothing deformable."""
        return Architecture(
            blocks=self.blocks, stem_width=self.stem_width, base_width=self.base_width, dcn_stages=()
        )


class ClassifierEntry(msgspec.Struct, frozen=True):
    """A published classifier; ``top1`` and ``top5`` in percent of ImageNet-1k's validation set."""

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


#: Sources: PaddleClas 2.0, docs/en/models/ResNet_and_vd_en.md and its
#: evaluation's configuration. Since 2.2 its tables call "ResNet50_vd_ssld"
#: what was "_v2" before, 83.0 %, in a file of this name in another folder.
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
