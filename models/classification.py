"""Image classifiers as data: their architecture, which are published, and how their pictures are prepared.

The only one is the backbone that the detectors start from, with the head it was distilled with: by it the
headline's top-1 accuracy can be checked. The commands for detectors refuse it by its name.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.architecture import Architecture
from pssdet.models.labels import numbered
from pssdet.opencv import MAX_PIXELS, cv2

#: What a classifier computes, in the order of the data; the last two are the exported model's outputs.
CLASSIFIER_STAGES = ("c2", "c3", "c4", "c5", "pooled", "logits", "probabilities")

_Side = Annotated[int, msgspec.Meta(gt=0, le=1 << 14)]


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


class CentreCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier reads a picture, as PaddleClas evaluates: resize, cut out the middle, normalise.

    Attributes:
        resize_short: the shorter side becomes this, pixels.
        crop: side of the square in the middle, pixels.
        interpolation: OpenCV's INTER_LINEAR, on 8-bit pixels.
        mean: per channel R, G, B, of pixels scaled to 0..1.
        std: per channel R, G, B.
    """

    resize_short: _Side = 256
    crop: _Side = 224
    interpolation: Literal["linear"] = "linear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.crop > self.resize_short:
            raise ValueError(f"a crop of {self.crop} pixels does not fit into {self.resize_short}")


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


def crop_centre(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """One RGB picture, uint8 [H, W, 3], as float32 [3, crop, crop].

    Sources: ``ResizeImage``, ``CropImage`` and ``NormalizeImage`` of PaddleClas 2.0.

    Raises:
        BadInput: the picture is not such an array, or too long and narrow to be resized in memory.
    """
    resized = resize_short_side(picture, steps.resize_short)
    top, left = ((side - steps.crop) // 2 for side in resized.shape[:2])
    return normalise(resized[top : top + steps.crop, left : left + steps.crop], steps)


def resize_short_side(picture: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """The picture with its shorter side at ``target`` pixels, both rounded; raises as ``crop_centre``."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise BadInput(f"a picture must be a uint8 array [height, width, 3], not {picture.dtype} {list(picture.shape)}")
    height, width = picture.shape[:2]
    scale = target / min(height, width)
    size = (round(width * scale), round(height * scale))
    if size[0] * size[1] > MAX_PIXELS:
        raise BadInput(f"a picture of {width}x{height} pixels is too long and narrow to be resized; crop it")
    resized: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized


def normalise(picture: NDArray[np.uint8], steps: CentreCrop) -> NDArray[np.float32]:
    """An RGB picture [H, W, 3], normalised, as float32 [3, H, W]."""
    mean, std = np.array(steps.mean, np.float32), np.array(steps.std, np.float32)
    values = (picture.astype(np.float32) * np.float32(1.0 / 255.0) - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1))
