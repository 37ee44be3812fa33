"""The detectors, and the classifier they start from: sources, published figures, conventions."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from pssdet.errors import BadInput
from pssdet.models.architecture import CASCADE_REG_WEIGHTS, Architecture
from pssdet.models.classification import RESNET50_VD_SSLD, ClassifierEntry
from pssdet.models.labels import COCO, SHAPES, numbered
from pssdet.models.numerics import DYGRAPH, STATIC, Numerics
from pssdet.models.reader import Preprocessing


class Published(msgspec.Struct, frozen=True):
    """Figures that PaddleDetection published, in its own words and units.

    Attributes:
        box_ap: COCO val2017 box AP, percent.
        fps: FP32 ``tools/eval.py`` at batch 1, cuDNN 7.5, data loading and post-processing included.
    """

    box_ap: float
    fps: float
    year: int
    hardware: str = "Tesla V100"
    note: str = ""


class ZooEntry(msgspec.Struct, frozen=True):
    """A detector.

    Attributes:
        row: its row in PSS-DET's published table; 0 for one outside it.
        name: its PaddleDetection configuration, or this project's own name.
        checkpoint: an address, or ``bundled:FILE``; ``sha256`` is its hash, where known.
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
    """The figures that PSS-DET is known by."""

    backbone: str
    top1: float
    box_ap: float
    fps: float
    url: str


#: Prefix of a checkpoint that comes with this project, in ``models/checkpoints``.
BUNDLED = "bundled:"

_STATIC_URL = "https://paddlemodels.bj.bcebos.com/object_detection/"


def _static_preprocessing(short: int, long: int) -> Preprocessing:
    return Preprocessing(short, long, interpolation="linear", resize="last")


_ROWS = (
    ZooEntry(
        1,
        "faster_rcnn_dcn_r50_vd_fpn_3x_server_side",
        "Faster R-CNN R50-vd",
        f"{_STATIC_URL}faster_rcnn_dcn_r50_vd_fpn_3x_server_side.tar",
        Published(41.6, 61.425, 2020),
        Architecture(),
        STATIC,
        _static_preprocessing(640, 640),
    ),
    ZooEntry(
        2,
        "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side",
        "Cascade R-CNN R50-vd",
        f"{_STATIC_URL}cascade_rcnn_dcn_r50_vd_fpn_3x_server_side.tar",
        Published(47.8, 20.001, 2020),
        Architecture(reg_weights=CASCADE_REG_WEIGHTS),
        STATIC,
        _static_preprocessing(1000, 1500),
    ),
    ZooEntry(
        3,
        "cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",
        "Cascade R-CNN R101-vd",
        f"{_STATIC_URL}cascade_rcnn_dcn_r101_vd_fpn_3x_server_side.pdparams",
        Published(49.4, 19.523, 2020),
        Architecture(blocks=(3, 4, 23, 3), reg_weights=CASCADE_REG_WEIGHTS),
        STATIC,
        _static_preprocessing(800, 1333),
    ),
    ZooEntry(
        4,
        "faster_rcnn_enhance_3x_coco",
        "Faster R-CNN R50-vd",
        "https://paddledet.bj.bcebos.com/models/faster_rcnn_enhance_3x_coco.pdparams",
        Published(41.5, 61.425, 2021, note="FPS repeats row 1's figure; its README's prose says 41.2 AP"),
        Architecture(),
        DYGRAPH,
        Preprocessing(640, 640, interpolation="cubic", resize="first"),
    ),
)


def _generic(published: ZooEntry, name: str) -> ZooEntry:
    """A published detector for the 676 classes of PaddleDetection's generic_det_label_list.txt."""
    classes = 676
    return msgspec.structs.replace(
        published,
        row=0,
        name=name,
        title=f"{published.title}, generic",
        checkpoint=f"{_STATIC_URL}{name}.pdparams",
        published=None,
        architecture=msgspec.structs.replace(published.architecture, num_classes=classes),
        labels=numbered(classes),
    )


#: Row 4's structure, narrow and shallow: a second block only where that is cheap to train on a CPU.
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

MINI_PREPROCESSING = Preprocessing(256, 256, interpolation="cubic", resize="first")

#: The structure of rows 2 and 3 on the same trunk; three heads of half the width weigh what one did.
MINI_CASCADE = msgspec.structs.replace(MINI_FASTER, head_width=128, reg_weights=CASCADE_REG_WEIGHTS)

MINI_CASCADE_PREPROCESSING = _static_preprocessing(256, 256)

ZOO = (
    *_ROWS,
    _generic(_ROWS[1], "cascade_rcnn_dcn_r50_vd_fpn_gen_server_side"),
    _generic(_ROWS[2], "cascade_rcnn_dcn_r101_vd_fpn_gen_server_side"),
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
        sha256="7fcd09244a0fec98c69919adcf54f1ba4f832a11a5d6cec494a7da56d58c0cac",
    ),
    ZooEntry(
        0,
        "mini_cascade",
        "bundled small Cascade R-CNN",
        f"{BUNDLED}mini_cascade.pdparams",
        None,
        MINI_CASCADE,
        STATIC,
        MINI_CASCADE_PREPROCESSING,
        labels=SHAPES,
        sha256="90703c9cc326405ac2caa01a1bf0efdf35efb2ec43de446c2df18bead77c9864",
    ),
)

#: Models that are no detectors: only the export, the zoo and the top-1 check take them.
CLASSIFIERS = (RESNET50_VD_SSLD,)

#: The detectors of the published table with their figures.
PUBLISHED = tuple((entry, entry.published) for entry in ZOO if entry.published is not None)

#: 82.39 % is the ImageNet-1k top-1 of the distilled backbone that rows 1 and 2 start from.
HEADLINE = Headline(RESNET50_VD_SSLD.title, RESNET50_VD_SSLD.top1, 41.2, 61.0, RESNET50_VD_SSLD.checkpoint)

DEFAULT_MODEL = "mini_faster"


def bundled() -> tuple[ZooEntry, ...]:
    """The detectors whose checkpoint comes with this project."""
    return tuple(entry for entry in ZOO if entry.checkpoint.startswith(BUNDLED))


_Entry = TypeVar("_Entry", ZooEntry, ZooEntry | ClassifierEntry)


def find(name: str) -> ZooEntry:
    """The detector of that name.

    Raises:
        BadInput: there is no such model, or it is a classifier.
    """
    if name in {entry.name for entry in CLASSIFIERS}:
        raise BadInput(
            f"{name} is a classifier, a detector is needed; python export/to_onnx.py exports it and pssdet top1"
            " measures it"
        )
    return _named(name, ZOO)


def find_any(name: str) -> ZooEntry | ClassifierEntry:
    """The detector or classifier of that name; raises as ``find`` if there is none."""
    everything: tuple[ZooEntry | ClassifierEntry, ...] = (*ZOO, *CLASSIFIERS)
    return _named(name, everything)


def _named(name: str, entries: Sequence[_Entry]) -> _Entry:
    for entry in entries:
        if entry.name == name:
            return entry
    names = [entry.name for entry in entries]
    close = difflib.get_close_matches(name, names, n=1)
    advice = f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"
    raise BadInput(f"no model is called {name!r}; {advice}")
