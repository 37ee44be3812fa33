"""Proposals, RoIAlign and class-wise NMS (``detection/detection.h``): on a GPU, or emulated on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.libraries import (
    DTYPES,
    HOW_TO_BUILD,
    LAYOUTS,
    Dtype,
    KernelLibrary,
    Layout,
    check_int32,
    fields,
    pointers,
)

MAX_LEVELS = 8
MAX_ANCHORS = 16
MAX_CANDIDATES = 2048  # candidates of a level, proposals or regions of an image, detections


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
    sizes: tuple[tuple[int, int], ...]  # (height, width) of each level's maps
    strides: tuple[int, ...]
    # [levels, anchors per cell, 4]: corners of the anchors of the cell at the origin
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
        """The C structure."""
        levels = len(self.sizes)
        pyramid = _pyramid(self, self.sizes, self.strides)
        if not 1 <= self.anchors_per_cell <= MAX_ANCHORS or len(self.anchors) % (4 * levels):
            raise BadInput(
                f"{len(self.anchors)} numbers of anchors for {levels} levels: "
                f"4 for each of the 1 to {MAX_ANCHORS} anchors of a cell are needed on every level"
            )
        return _filled(_Proposals, self, pyramid)


@dataclass(frozen=True)
class RoiAlignParams:
    """Sizes of ``MultilevelRoiAlign``, and the ONNX function's attributes by their names, but ``aligned``."""

    batch: int
    regions: int  # of an image
    channels: int
    sizes: tuple[tuple[int, int], ...]  # (height, width) of each level's map
    strides: tuple[int, ...]
    min_level: int
    canonical_level: int
    canonical_size: float
    pixel_offset: float
    output_size: int
    sampling_ratio: int
    aligned: bool  # shifts regions by half a cell: ``half_pixel``

    def as_c(self) -> ctypes.Structure:
        """The C structure."""
        return _filled(_RoiAlign, self, _pyramid(self, self.sizes, self.strides))


@dataclass(frozen=True)
class MulticlassNmsParams:
    """Sizes and settings of ``MulticlassNms``; the ONNX function's attributes by their names."""

    batch: int
    regions: int  # of an image
    classes: int
    box_classes: int  # 1: the classes share their boxes; else as many as classes
    max_detections: int
    score_threshold: float
    nms_threshold: float
    pixel_offset: float

    def as_c(self) -> ctypes.Structure:
        """The C structure."""
        return _filled(_MulticlassNms, self)


class DetectionLibrary(KernelLibrary):
    """A library with these kernels: ``libpssdet_kernels.so`` or ``libpssdet_emulated.so``.

    Tensors are addresses, aligned as ``detection.h`` says: of device memory or, emulated, of the computer. A
    launch raises ``BadInput`` if sizes or addresses contradict each other, ``EnvironmentMissing`` if it fails.

    Raises:
        EnvironmentMissing: it is not there, cannot be loaded or is without these kernels.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if not hasattr(self._library, "pssdet_proposals_run"):
            how = f"put nvcc on PATH, then {HOW_TO_BUILD}"
            raise EnvironmentMissing(f"{self.path} is without the detection kernels: {how}")

    def workspace(self, params: ProposalsParams | MulticlassNmsParams) -> int:
        """Bytes of memory a run needs beside its tensors; ``BadInput`` if the kernels cannot do these sizes."""
        name = "proposals" if isinstance(params, ProposalsParams) else "multiclass_nms"
        size = ctypes.c_size_t()
        self._call(f"{name}_workspace", params, ctypes.byref(size))
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

        ``dtype``: of the maps; the other tensors are float32, the count int32. ``layouts``: of each level's
        score map, then of each level's delta map.
        """
        levels = len(params.sizes)
        if not (len(scores) == len(deltas) == levels and len(layouts) == 2 * levels):
            found = f"{len(scores)} score maps, {len(deltas)} delta maps and {len(layouts)} layouts"
            raise BadInput(f"{found} of {levels} levels; each needs one of both maps, and each map a layout")
        self._call(
            "proposals_run",
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

        ``dtype``: of maps and features; the regions are float32. ``layout``: of the maps; features are NCHW.
        """
        levels = len(params.sizes)
        if len(maps) != levels:
            raise BadInput(f"{len(maps)} maps of {levels} levels; each needs one")
        self._call(
            "roi_align_run",
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
        """Launch ``MulticlassNms`` on a CUDA stream."""
        tensors = (boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace)
        self._call("multiclass_nms_run", params, *pointers(*tensors, stream))


def _pyramid(params: object, sizes: tuple[tuple[int, int], ...], strides: tuple[int, ...]) -> _Pyramid:
    levels = len(sizes)
    if not 1 <= levels <= MAX_LEVELS or len(strides) != levels:
        raise BadInput(f"{levels} maps and {len(strides)} strides; 1 to {MAX_LEVELS} of both are needed")
    heights, widths = zip(*sizes, strict=True)
    check_int32(params, *heights, *widths, *strides)
    return _Pyramid(levels, heights, widths, strides)


def _filled(kind: type[ctypes.Structure], params: object, pyramid: _Pyramid | None = None) -> ctypes.Structure:
    types = dict(kind._fields_)  # type: ignore[arg-type]
    values: dict[str, Any] = {name: pyramid if name == "pyramid" else getattr(params, name) for name in types}
    check_int32(params, *(value for name, value in values.items() if types[name] is ctypes.c_int32))
    return kind(**values)
