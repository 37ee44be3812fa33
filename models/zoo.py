"""The published detectors: where they come from, what was published, how they compute."""

from __future__ import annotations

import difflib

import msgspec

from pssdet.errors import BadInput
from pssdet.models.architecture import CASCADE_REG_WEIGHTS, Architecture
from pssdet.models.labels import COCO
from pssdet.models.mini import MINI_FASTER, MINI_PREPROCESSING, SHAPES
from pssdet.models.numerics import DYGRAPH, STATIC, Numerics
from pssdet.models.reader import Preprocessing


class Published(msgspec.Struct, frozen=True):
    """Figures that PaddleDetection published, in its own words and units.

    Attributes:
        box_ap: COCO val2017 box AP, percent.
        fps: images per second: FP32 ``tools/eval.py`` at batch 1 on one V100 with cuDNN 7.5, data
            loading and post-processing included.
        note: what a reader must know about the figures.
    """

    box_ap: float
    fps: float
    year: int
    hardware: str = "Tesla V100"
    note: str = ""


class ZooEntry(msgspec.Struct, frozen=True):
    """A detector.

    Attributes:
        row: its number among the published detectors; 0 for one that only this project has.
        name: its PaddleDetection configuration.
        checkpoint: where its parameters are: an address, or ``bundled:FILE``.
        published: None for one that only this project has.
        sha256: of the checkpoint, where known.
    """

    row: int
    name: str
    title: str
    checkpoint: str
    published: Published | None
    architecture: Architecture
    numerics: Numerics
    preprocessing: Preprocessing
    labels: tuple[str, ...] = COCO
    sha256: str = ""


class Headline(msgspec.Struct, frozen=True):
    """The two sentences PSS-DET is known by."""

    backbone: str
    top1: float
    box_ap: float
    fps: float
    url: str


#: Prefix of a checkpoint that comes with this project, in ``models/checkpoints``.
BUNDLED = "bundled:"

_STATIC_URL = "https://paddlemodels.bj.bcebos.com/object_detection/"
_DYGRAPH_URL = "https://paddledet.bj.bcebos.com/models/"
_R101 = (3, 4, 23, 3)


def _static_reader(short: int, long: int) -> Preprocessing:
    return Preprocessing(short, long, interpolation="linear", resize="last")


ZOO = (
    ZooEntry(
        1,
        "faster_rcnn_dcn_r50_vd_fpn_3x_server_side",
        "Faster R-CNN R50-vd",
        f"{_STATIC_URL}faster_rcnn_dcn_r50_vd_fpn_3x_server_side.tar",
        Published(41.6, 61.425, 2020),
        Architecture(),
        STATIC,
        _static_reader(640, 640),
    ),
    ZooEntry(
        2,
        "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side",
        "Cascade R-CNN R50-vd",
        f"{_STATIC_URL}cascade_rcnn_dcn_r50_vd_fpn_3x_server_side.tar",
        Published(47.8, 20.001, 2020),
        Architecture(reg_weights=CASCADE_REG_WEIGHTS),
        STATIC,
        _static_reader(1000, 1500),
    ),
    ZooEntry(
        3,
        "cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",
        "Cascade R-CNN R101-vd",
        f"{_STATIC_URL}cascade_rcnn_dcn_r101_vd_fpn_3x_server_side.pdparams",
        Published(49.4, 19.523, 2020),
        Architecture(blocks=_R101, reg_weights=CASCADE_REG_WEIGHTS),
        STATIC,
        _static_reader(800, 1333),
    ),
    ZooEntry(
        4,
        "faster_rcnn_enhance_3x_coco",
        "Faster R-CNN R50-vd",
        f"{_DYGRAPH_URL}faster_rcnn_enhance_3x_coco.pdparams",
        Published(41.5, 61.425, 2021, note="FPS repeats row 1's figure; its README's prose says 41.2 AP"),
        Architecture(),
        DYGRAPH,
        Preprocessing(640, 640, interpolation="cubic", resize="first"),
    ),
    ZooEntry(
        0,
        "mini_faster",
        "bundled small Faster R-CNN",
        f"{BUNDLED}mini_faster.pdparams",
        None,
        MINI_FASTER,
        DYGRAPH,
        MINI_PREPROCESSING,
        labels=SHAPES,
        sha256="4b2c996063bd75ec8fbdc4bc97ff16a0190c2baca3326d3cdd6b6570c53ac47f",
    ),
)

#: The published detectors with their figures.
PUBLISHED = tuple((entry, entry.published) for entry in ZOO if entry.published is not None)

#: 82.39 % is the ImageNet-1k top-1 of the distilled backbone that rows 1 and 2 start from.
HEADLINE = Headline(
    "ResNet50-vd SSLD",
    82.39,
    41.2,
    61.0,
    "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/ResNet50_vd_ssld_pretrained.pdparams",
)

DEFAULT_MODEL = "mini_faster"


def bundled() -> tuple[ZooEntry, ...]:
    """The detectors whose checkpoint comes with this project."""
    return tuple(entry for entry in ZOO if entry.checkpoint.startswith(BUNDLED))


def find(name: str) -> ZooEntry:
    """The zoo's entry of that configuration name.

    Raises:
        BadInput: there is no such entry.
    """
    for entry in ZOO:
        if entry.name == name:
            return entry
    names = [entry.name for entry in ZOO]
    close = difflib.get_close_matches(name, names, n=1)
    advice = f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"
    raise BadInput(f"no model is called {name!r}; {advice}")
