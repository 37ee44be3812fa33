"""What the kernels of proposals, RoIAlign and class-wise NMS are told, as ``detection/detection.h`` defines it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from pssdet.errors import BadInput

MAX_LEVELS = 8
MAX_ANCHORS = 16
#: Of a level before NMS, of an image after it, regions of an image in NMS, detections.
MAX_CANDIDATES = 2048

_LARGEST = 2**31 - 1


class _Pyramid(ctypes.Structure):
    _fields_ = (
        ("levels", ctypes.c_int32),
        ("height", ctypes.c_int32 * MAX_LEVELS),
        ("width", ctypes.c_int32 * MAX_LEVELS),
        ("strides", ctypes.c_int32 * MAX_LEVELS),
    )


class _Proposals(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int32),
        ("pyramid", _Pyramid),
        ("anchors_per_cell", ctypes.c_int32),
        ("anchors", ctypes.c_float * (MAX_LEVELS * MAX_ANCHORS * 4)),
        ("pre_nms_top_n", ctypes.c_int32),
        ("post_nms_top_n", ctypes.c_int32),
        ("nms_threshold", ctypes.c_float),
        ("min_size", ctypes.c_float),
        ("pixel_offset", ctypes.c_float),
        ("clip_multiple", ctypes.c_float),
    )


class _RoiAlign(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int32),
        ("regions", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("pyramid", _Pyramid),
        ("min_level", ctypes.c_int32),
        ("canonical_level", ctypes.c_int32),
        ("canonical_size", ctypes.c_float),
        ("pixel_offset", ctypes.c_float),
        ("output_size", ctypes.c_int32),
        ("sampling_ratio", ctypes.c_int32),
        ("aligned", ctypes.c_int32),
    )


class _MulticlassNms(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int32),
        ("regions", ctypes.c_int32),
        ("classes", ctypes.c_int32),
        ("box_classes", ctypes.c_int32),
        ("max_detections", ctypes.c_int32),
        ("score_threshold", ctypes.c_float),
        ("nms_threshold", ctypes.c_float),
        ("pixel_offset", ctypes.c_float),
    )


@dataclass(frozen=True)
class ProposalsProblem:
    """Sizes and settings of ``GenerateProposals``; the ONNX function's attributes by their names."""

    batch: int
    #: (height, width) of each level's maps.
    sizes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    #: Corners of the anchors of the cell at the origin, level by level: levels * anchors per cell * 4 numbers.
    anchors: tuple[float, ...]
    pre_nms_top_n: int
    post_nms_top_n: int
    nms_threshold: float
    min_size: float
    pixel_offset: float
    clip_multiple: float

    @property
    def anchors_per_cell(self) -> int:
        """As many on every level."""
        return len(self.anchors) // (4 * len(self.sizes))

    def as_c(self) -> ctypes.Structure:
        """The C structure.

        Raises:
            BadInput: it has no room for so many levels or anchors, or they contradict each other.
        """
        levels = len(self.sizes)
        pyramid = _pyramid(self, self.sizes, self.strides)
        if not 1 <= self.anchors_per_cell <= MAX_ANCHORS or len(self.anchors) % (4 * levels):
            raise BadInput(
                f"{len(self.anchors)} numbers of anchors for {levels} levels: 4 for each of the 1 to {MAX_ANCHORS} "
                "anchors of a cell are needed on every level"
            )
        _fits(self, self.batch, self.pre_nms_top_n, self.post_nms_top_n)
        return _Proposals(
            self.batch,
            pyramid,
            self.anchors_per_cell,
            (ctypes.c_float * (MAX_LEVELS * MAX_ANCHORS * 4))(*self.anchors),
            self.pre_nms_top_n,
            self.post_nms_top_n,
            self.nms_threshold,
            self.min_size,
            self.pixel_offset,
            self.clip_multiple,
        )


@dataclass(frozen=True)
class RoiAlignProblem:
    """Sizes and settings of ``MultilevelRoiAlign``; the ONNX function's attributes by their names, but ``aligned``."""

    batch: int
    #: Of an image.
    regions: int
    channels: int
    #: (height, width) of each level's map.
    sizes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    min_level: int
    canonical_level: int
    canonical_size: float
    pixel_offset: float
    output_size: int
    sampling_ratio: int
    #: Regions are shifted by half a cell: ``half_pixel``.
    aligned: bool

    def as_c(self) -> ctypes.Structure:
        """The C structure.

        Raises:
            BadInput: it has no room for so many levels, or a number does not fit 32 bits.
        """
        levels = (self.min_level, self.canonical_level)
        sizes = (self.batch, self.regions, self.channels)
        _fits(self, *sizes, *levels, self.output_size, self.sampling_ratio)
        return _RoiAlign(
            *sizes,
            _pyramid(self, self.sizes, self.strides),
            *levels,
            self.canonical_size,
            self.pixel_offset,
            self.output_size,
            self.sampling_ratio,
            self.aligned,
        )


@dataclass(frozen=True)
class MulticlassNmsProblem:
    """Sizes and settings of ``MulticlassNms``; the ONNX function's attributes by their names."""

    batch: int
    #: Of an image.
    regions: int
    classes: int
    #: 1: the classes share their boxes; else as many as classes.
    box_classes: int
    max_detections: int
    score_threshold: float
    nms_threshold: float
    pixel_offset: float

    def as_c(self) -> ctypes.Structure:
        """The C structure.

        Raises:
            BadInput: a number does not fit 32 bits.
        """
        sizes = (self.batch, self.regions, self.classes, self.box_classes, self.max_detections)
        _fits(self, *sizes)
        return _MulticlassNms(*sizes, self.score_threshold, self.nms_threshold, self.pixel_offset)


def _pyramid(problem: object, sizes: tuple[tuple[int, int], ...], strides: tuple[int, ...]) -> _Pyramid:
    levels = len(sizes)
    if not 1 <= levels <= MAX_LEVELS or len(strides) != levels:
        raise BadInput(f"{levels} maps and {len(strides)} strides; 1 to {MAX_LEVELS} of both are needed")
    heights, widths = zip(*sizes, strict=True)
    _fits(problem, *heights, *widths, *strides)
    of_level = ctypes.c_int32 * MAX_LEVELS
    return _Pyramid(levels, of_level(*heights), of_level(*widths), of_level(*strides))


def _fits(problem: object, *numbers: int) -> None:
    """Refuse what does not fit 32 bits: ctypes would cut it to them."""
    if not all(-_LARGEST <= number <= _LARGEST for number in numbers):
        raise BadInput(f"{problem}: sizes must fit 32 bits")
