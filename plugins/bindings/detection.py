"""Proposals, RoIAlign and class-wise NMS (``detection/detection.h``): on a GPU, or emulated on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.c_types import (
    DTYPES,
    LAYOUTS,
    Dtype,
    Layout,
    check_int32,
    check_status,
    fields,
    pointers,
)
from pssdet.plugins.bindings.libraries import HOW_TO_BUILD, find_kernels, is_emulated, open_library

MAX_LEVELS = 8
MAX_ANCHORS = 16
#: Of a level before NMS, of an image after it, regions of an image in NMS, detections.
MAX_CANDIDATES = 2048


class _Pyramid(ctypes.Structure):
    _fields_ = (
        ("levels", ctypes.c_int32),
        *fields(ctypes.c_int32 * MAX_LEVELS, "height", "width", "strides"),
    )


class _Proposals(ctypes.Structure):
    _fields_ = (
        ("batch", ctypes.c_int32),
        ("pyramid", _Pyramid),
        ("anchors_per_cell", ctypes.c_int32),
        ("anchors", ctypes.c_float * (MAX_LEVELS * MAX_ANCHORS * 4)),
        *fields(ctypes.c_int32, "pre_nms_top_n", "post_nms_top_n"),
        *fields(ctypes.c_float, "nms_threshold", "min_size", "pixel_offset", "clip_multiple"),
    )


class _RoiAlign(ctypes.Structure):
    _fields_ = (
        *fields(ctypes.c_int32, "batch", "regions", "channels"),
        ("pyramid", _Pyramid),
        *fields(ctypes.c_int32, "min_level", "canonical_level"),
        *fields(ctypes.c_float, "canonical_size", "pixel_offset"),
        *fields(ctypes.c_int32, "output_size", "sampling_ratio", "aligned"),
    )


class _MulticlassNms(ctypes.Structure):
    _fields_ = (
        *fields(ctypes.c_int32, "batch", "regions", "classes", "box_classes", "max_detections"),
        *fields(ctypes.c_float, "score_threshold", "nms_threshold", "pixel_offset"),
    )


@dataclass(frozen=True)
class ProposalsParams:
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
        check_int32(self, self.batch, self.pre_nms_top_n, self.post_nms_top_n)
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
class RoiAlignParams:
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
        check_int32(self, *sizes, *levels, self.output_size, self.sampling_ratio)
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
class MulticlassNmsParams:
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
        check_int32(self, self.batch, self.regions, self.classes, self.box_classes, self.max_detections)
        return _MulticlassNms(*astuple(self))


AnyParams = ProposalsParams | RoiAlignParams | MulticlassNmsParams


class DetectionLibrary:
    """An opened library: ``libpssdet_kernels.so``, or ``libpssdet_emulated.so``, which computes on the CPU, slowly.

    Tensors are addresses, aligned to 16 bytes: of device memory or, emulated, of the computer's.

    Raises:
        EnvironmentMissing: it is not there, cannot be loaded or is without these kernels.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or find_kernels()
        self._library = open_library(self.path)
        self.emulated = is_emulated(self._library)
        if not hasattr(self._library, "pssdet_proposals_run"):
            how = f"put nvcc on PATH, then {HOW_TO_BUILD}"
            raise EnvironmentMissing(f"{self.path} is without the detection kernels: {how}")

    def workspace(self, params: ProposalsParams | MulticlassNmsParams) -> int:
        """Bytes of memory that a run needs beside its tensors; RoIAlign needs none.

        Raises:
            BadInput: the parameters contradict each other, or pass the kernels' limits.
        """
        name = "proposals" if isinstance(params, ProposalsParams) else "multiclass_nms"
        size = ctypes.c_size_t()
        status = self._library[f"pssdet_{name}_workspace"](ctypes.byref(params.as_c()), ctypes.byref(size))
        check_status(status, params)
        return size.value

    def proposals(
        self,
        params: ProposalsParams,
        *,
        dtype: Dtype,
        layouts: Sequence[Layout],
        scores: Sequence[int],
        deltas: Sequence[int],
        image_size: int,
        proposals: int,
        proposal_scores: int,
        count: int,
        workspace: int,
        stream: int = 0,
    ) -> None:
        """Launch ``GenerateProposals`` on a CUDA stream.

        Args:
            dtype: Of the maps; the other tensors are float32, the count int32.
            layouts: Of each level's score map, then of each level's delta map.

        Raises:
            BadInput: sizes or addresses contradict each other.
            EnvironmentMissing: the launch failed.
        """
        levels = len(params.sizes)
        if not (len(scores) == len(deltas) == levels and len(layouts) == 2 * levels):
            found = f"{len(scores)} score maps, {len(deltas)} delta maps and {len(layouts)} layouts"
            raise BadInput(f"{found} of {levels} levels; each needs one of both maps, and each map a layout")
        self._run(
            "proposals",
            params,
            ctypes.c_int32(DTYPES[dtype]),
            (ctypes.c_int32 * len(layouts))(*(LAYOUTS[layout] for layout in layouts)),
            (ctypes.c_void_p * levels)(*scores),
            (ctypes.c_void_p * levels)(*deltas),
            *pointers(image_size, proposals, proposal_scores, count, workspace, stream),
        )

    def roi_align(
        self,
        params: RoiAlignParams,
        *,
        dtype: Dtype,
        layout: Layout,
        maps: Sequence[int],
        rois: int,
        features: int,
        stream: int = 0,
    ) -> None:
        """Launch ``MultilevelRoiAlign`` on a CUDA stream.

        Args:
            dtype: Of the maps and the features; the regions are float32.
            layout: Of the maps; the features are NCHW.

        Raises:
            BadInput: sizes or addresses contradict each other.
            EnvironmentMissing: the launch failed.
        """
        levels = len(params.sizes)
        if len(maps) != levels:
            raise BadInput(f"{len(maps)} maps of {levels} levels; each needs one")
        self._run(
            "roi_align",
            params,
            ctypes.c_int32(DTYPES[dtype]),
            ctypes.c_int32(LAYOUTS[layout]),
            (ctypes.c_void_p * levels)(*maps),
            *pointers(rois, features, stream),
        )

    def multiclass_nms(
        self,
        params: MulticlassNmsParams,
        *,
        boxes: int,
        scores: int,
        region_count: int,
        best_boxes: int,
        best_scores: int,
        labels: int,
        count: int,
        workspace: int,
        stream: int = 0,
    ) -> None:
        """Launch ``MulticlassNms`` on a CUDA stream.

        Raises:
            BadInput: sizes or addresses contradict each other.
            EnvironmentMissing: the launch failed.
        """
        tensors = (boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace)
        self._run("multiclass_nms", params, *pointers(*tensors, stream))

    def _run(self, name: str, params: AnyParams, *arguments: object) -> None:
        function = self._library[f"pssdet_{name}_run"]
        check_status(function(ctypes.byref(params.as_c()), *arguments), params)


def _pyramid(params: object, sizes: tuple[tuple[int, int], ...], strides: tuple[int, ...]) -> _Pyramid:
    levels = len(sizes)
    if not 1 <= levels <= MAX_LEVELS or len(strides) != levels:
        raise BadInput(f"{levels} maps and {len(strides)} strides; 1 to {MAX_LEVELS} of both are needed")
    heights, widths = zip(*sizes, strict=True)
    check_int32(params, *heights, *widths, *strides)
    of_level = ctypes.c_int32 * MAX_LEVELS
    return _Pyramid(levels, of_level(*heights), of_level(*widths), of_level(*strides))
