"""Launches of the detection kernels on a device's tensors; the tests emulate the kernels on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import Tensors
from benchmarks.gpu.detection_cases import Setting
from pssdet.plugins.bindings.detection import DetectionLibrary, MulticlassNmsParams, ProposalsParams, RoiAlignParams

if TYPE_CHECKING:
    from benchmarks.gpu.cuda_device import BareDevice, Memory

#: What outputs hold before: a value that no kernel writes.
_UNWRITTEN = {np.dtype(np.float32): np.nan, np.dtype(np.float16): np.nan, np.dtype(np.int32): -7}


@dataclass(frozen=True)
class Call:
    """A kernel with its tensors in the device's memory.

    run: launches it, without waiting. keeps: what the launch refers to.
    """

    run: Callable[[], None]
    outputs: Mapping[str, Memory]
    keeps: object

    def results(self, device: BareDevice) -> Tensors:
        """Its outputs on the host."""
        device.synchronize()
        return {name: np.array(device.take(array)) for name, array in self.outputs.items()}


def proposals_call(
    device: BareDevice, library: DetectionLibrary, setting: Setting, tensors: Tensors, *, half: bool, last: bool
) -> Call:
    """``GenerateProposals``; outputs proposals, scores and count."""
    levels = len(setting.proposals["strides"])
    batch = len(tensors["image_size"])
    attributes: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in setting.proposals.items()}
    sizes = tuple(tuple(tensors[f"score_{level}"].shape[2:]) for level in range(levels))
    problem = ProposalsParams(batch, sizes, **attributes)
    maps = {
        kind: [device.put(laid_out(tensors[f"{kind}_{level}"], half=half, last=last)) for level in range(levels)]
        for kind in ("score", "delta")
    }
    image_size = device.put(tensors["image_size"])
    shape = (batch, setting.regions)
    outputs = _unwritten(device, {"proposals": (*shape, 4), "scores": shape, "count": (batch,)}, integers=("count",))
    workspace = device.put(np.zeros(library.workspace(problem), np.uint8))

    def run() -> None:
        library.proposals(
            problem,
            dtype="half" if half else "float32",
            layouts=["NHWC" if last else "NCHW"] * (2 * levels),
            scores=[device.address(each) for each in maps["score"]],
            deltas=[device.address(each) for each in maps["delta"]],
            image_size=device.address(image_size),
            proposals=device.address(outputs["proposals"]),
            proposal_scores=device.address(outputs["scores"]),
            count=device.address(outputs["count"]),
            workspace=device.address(workspace),
            stream=device.stream(),
        )

    return Call(run, outputs, (maps, image_size, workspace))


def roi_align_call(
    device: BareDevice, library: DetectionLibrary, setting: Setting, tensors: Tensors, *, half: bool, last: bool
) -> Call:
    """``MultilevelRoiAlign``; the output is features [N * R, C, S, S] of the maps' type."""
    given = dict(setting.roi_align)
    strides = given["strides"]
    batch, regions = tensors["rois"].shape[:2]
    maps = [device.put(laid_out(tensors[f"map_{level}"], half=half, last=last)) for level in range(len(strides))]
    rois = device.put(tensors["rois"])
    sizes = tuple(tuple(tensors[f"map_{level}"].shape[2:]) for level in range(len(strides)))
    aligned = given.pop("coordinate_transformation_mode") == "half_pixel"
    attributes = {**given, "strides": tuple(strides), "aligned": aligned}
    problem = RoiAlignParams(batch, regions, setting.channels, sizes, **attributes)
    side = problem.output_size
    shape = (batch * regions, setting.channels, side, side)
    outputs = _unwritten(device, {"features": shape}, kind=np.float16 if half else np.float32)

    def run() -> None:
        library.roi_align(
            problem,
            dtype="half" if half else "float32",
            layout="NHWC" if last else "NCHW",
            maps=[device.address(each) for each in maps],
            rois=device.address(rois),
            features=device.address(outputs["features"]),
            stream=device.stream(),
        )

    return Call(run, outputs, (maps, rois))


def nms_call(device: BareDevice, library: DetectionLibrary, setting: Setting, tensors: Tensors) -> Call:
    """``MulticlassNms``; outputs boxes, scores, labels and count."""
    batch, regions, classes = tensors["scores"].shape
    problem = MulticlassNmsParams(batch, regions, classes, setting.box_classes, **setting.nms)
    inputs = {name: device.put(values) for name, values in tensors.items()}
    shape = (batch, int(setting.nms["max_detections"]))
    shapes = {"boxes": (*shape, 4), "scores": shape, "labels": shape, "count": (batch,)}
    outputs = _unwritten(device, shapes, integers=("labels", "count"))
    workspace = device.put(np.zeros(library.workspace(problem), np.uint8))

    def run() -> None:
        library.multiclass_nms(
            problem,
            boxes=device.address(inputs["boxes"]),
            scores=device.address(inputs["scores"]),
            region_count=device.address(inputs["region_count"]),
            best_boxes=device.address(outputs["boxes"]),
            best_scores=device.address(outputs["scores"]),
            labels=device.address(outputs["labels"]),
            count=device.address(outputs["count"]),
            workspace=device.address(workspace),
            stream=device.stream(),
        )

    return Call(run, outputs, (inputs, workspace))


def laid_out(maps: NDArray[np.float32], *, half: bool, last: bool) -> NDArray[Any]:
    """Maps [N, C, h, w] as a kernel reads them: NHWC has its channels padded with NaN to a multiple of 8."""
    typed = maps.astype(np.float16 if half else np.float32)
    if not last:
        return np.ascontiguousarray(typed)
    batch, channels, height, width = typed.shape
    padded: NDArray[Any] = np.full((batch, height, width, -(-channels // 8) * 8), np.nan, typed.dtype)
    padded[..., :channels] = typed.transpose(0, 2, 3, 1)
    return padded


def _unwritten(
    device: BareDevice, shapes: Mapping[str, tuple[int, ...]], *, integers: tuple[str, ...] = (), kind: Any = np.float32
) -> dict[str, Memory]:
    types = {name: np.dtype(np.int32 if name in integers else kind) for name in shapes}
    return {name: device.put(np.full(shape, _UNWRITTEN[types[name]], types[name])) for name, shape in shapes.items()}
