"""The kernels of proposals, RoIAlign and class-wise NMS (``detection/detection.h``) in Python: a GPU's, or emulated."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.detection_problem import MulticlassNmsProblem, ProposalsProblem, RoiAlignProblem
from pssdet.plugins.library import find_library
from pssdet.plugins.problem import Dtype, Layout

_OK, _BAD_PROBLEM = 0, 1
_HOW = "make plugin builds it in a checkout (a C++ compiler; with nvcc the CUDA kernels too)"
_DTYPES: dict[Dtype, int] = {"float32": 0, "half": 1}
_LAYOUTS: dict[Layout, int] = {"NCHW": 0, "NHWC": 1}

AnyProblem = ProposalsProblem | RoiAlignProblem | MulticlassNmsProblem


class DetectionLibrary:
    """An opened library: ``libpssdet_kernels.so``, or ``libpssdet_emulated.so``, which computes on the CPU, slowly.

    Tensors are addresses, aligned to 16 bytes: of device memory or, emulated, of the computer's.

    Raises:
        EnvironmentMissing: it is not there, cannot be loaded or is without these kernels.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or find_library()
        try:
            self._library = ctypes.CDLL(str(self.path))
        except OSError as error:
            raise EnvironmentMissing(f"{self.path} cannot be loaded ({error}); {_HOW}") from error
        self.emulated = hasattr(self._library, "pssdet_proposals_emulated")
        if not self.emulated and not hasattr(self._library, "pssdet_proposals_run"):
            raise EnvironmentMissing(f"{self.path} is without the detection kernels: put nvcc on PATH, then {_HOW}")

    def workspace(self, problem: ProposalsProblem | MulticlassNmsProblem) -> int:
        """Bytes of memory that a run needs beside its tensors; RoIAlign needs none.

        Raises:
            BadInput: the problem contradicts itself, or passes the kernels' limits.
        """
        name = "proposals" if isinstance(problem, ProposalsProblem) else "multiclass_nms"
        size = ctypes.c_size_t()
        status = self._library[f"pssdet_{name}_workspace"](ctypes.byref(problem.as_c()), ctypes.byref(size))
        _check(status, problem)
        return size.value

    def proposals(
        self,
        problem: ProposalsProblem,
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
        levels = len(problem.sizes)
        if not (len(scores) == len(deltas) == levels and len(layouts) == 2 * levels):
            found = f"{len(scores)} score maps, {len(deltas)} delta maps and {len(layouts)} layouts"
            raise BadInput(f"{found} of {levels} levels; each needs one of both maps, and each map a layout")
        self._run(
            "proposals",
            problem,
            ctypes.c_int32(_DTYPES[dtype]),
            (ctypes.c_int32 * len(layouts))(*(_LAYOUTS[layout] for layout in layouts)),
            (ctypes.c_void_p * levels)(*scores),
            (ctypes.c_void_p * levels)(*deltas),
            *_pointers(image_size, proposals, proposal_scores, count, workspace, stream),
        )

    def roi_align(
        self,
        problem: RoiAlignProblem,
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
        levels = len(problem.sizes)
        if len(maps) != levels:
            raise BadInput(f"{len(maps)} maps of {levels} levels; each needs one")
        self._run(
            "roi_align",
            problem,
            ctypes.c_int32(_DTYPES[dtype]),
            ctypes.c_int32(_LAYOUTS[layout]),
            (ctypes.c_void_p * levels)(*maps),
            *_pointers(rois, features, stream),
        )

    def multiclass_nms(
        self,
        problem: MulticlassNmsProblem,
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
        self._run("multiclass_nms", problem, *_pointers(*tensors, stream))

    def _run(self, name: str, problem: AnyProblem, *arguments: object) -> None:
        function = self._library[f"pssdet_{name}_{'emulated' if self.emulated else 'run'}"]
        _check(function(ctypes.byref(problem.as_c()), *arguments), problem)


def _pointers(*addresses: int) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(address) for address in addresses]


def _check(status: int, problem: AnyProblem) -> None:
    if status == _BAD_PROBLEM:
        raise BadInput(f"{problem}: sizes or tensors contradict each other or are too large")
    if status != _OK:
        raise EnvironmentMissing("the GPU refused the launch: is there a GPU, and is it of an architecture built for?")
