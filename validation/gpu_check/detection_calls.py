"""Launches of the detection kernels on a device's tensors; the tests emulate the kernels on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pssdet.plugins.bindings.detection import (
    DetectionLibrary,
    MulticlassNmsParams,
    ProposalsParams,
    RoiAlignParams,
)
from pssdet.validation.gpu_check.detection_cases import FORMATS, Setting, Tensors
from pssdet.validation.gpu_check.device import BareDevice, Memory
from pssdet.validation.gpu_check.launches import laid_out

_UNWRITTEN = {"labels": np.int32(-7), "count": np.int32(-7)}  # in outputs before a launch; no kernel writes it


@dataclass(frozen=True)
class Call:
    """A kernel with its tensors in the device's memory."""

    run: Callable[[], None]  # launches it, without waiting
    outputs: Mapping[str, Memory]
    keeps: object  # what the launch refers to

    def results(self, device: BareDevice) -> Tensors:
        """Its outputs on the host."""
        device.synchronize()
        return {name: np.array(device.take(array)) for name, array in self.outputs.items()}


def proposals_call(
    device: BareDevice, library: DetectionLibrary, setting: Setting, form: str, tensors: Tensors
) -> Call:
    """``GenerateProposals``; outputs proposals, scores and count."""
    sizes, maps = _maps(device, tensors, form, ("score_", "delta_"))
    batch, levels = len(tensors["image_size"]), len(sizes) // 2
    problem = ProposalsParams(batch, sizes[:levels], **_attributes(setting.proposals))
    shape = (batch, setting.regions)
    outputs = _unwritten(device, {"proposals": (*shape, 4), "scores": shape, "count": (batch,)})
    given = {
        "scores": maps[:levels],
        "deltas": maps[levels:],
        "image_size": device.put(tensors["image_size"]),
        "proposals": outputs["proposals"],
        "proposal_scores": outputs["scores"],
        "count": outputs["count"],
        "workspace": device.put(np.zeros(library.workspace(problem), np.uint8)),
    }
    dtype, layout = _names(form)
    launch = partial(library.proposals, problem, dtype=dtype, layouts=[layout] * len(maps))
    return _call(device, launch, outputs, given)


def roi_align_call(
    device: BareDevice, library: DetectionLibrary, setting: Setting, form: str, tensors: Tensors
) -> Call:
    """``MultilevelRoiAlign``; the output is features [N * R, C, S, S] of the maps' type."""
    sizes, maps = _maps(device, tensors, form, ("map_",))
    batch, regions = tensors["rois"].shape[:2]
    attributes = _attributes(setting.roi_align)
    aligned = attributes.pop("coordinate_transformation_mode") == "half_pixel"
    problem = RoiAlignParams(batch, regions, setting.channels, sizes, **attributes, aligned=aligned)
    shape = (batch * regions, setting.channels, problem.output_size, problem.output_size)
    outputs = _unwritten(device, {"features": shape}, np.float16 if FORMATS[form][0] else np.float32)
    given = {"maps": maps, "rois": device.put(tensors["rois"]), **outputs}
    dtype, layout = _names(form)
    return _call(device, partial(library.roi_align, problem, dtype=dtype, layout=layout), outputs, given)


def nms_call(device: BareDevice, library: DetectionLibrary, setting: Setting, _: str, tensors: Tensors) -> Call:
    """``MulticlassNms``; outputs boxes, scores, labels and count."""
    batch, regions, classes = tensors["region_scores"].shape
    problem = MulticlassNmsParams(batch, regions, classes, setting.box_classes, **setting.nms)
    shape = (batch, int(setting.nms["max_detections"]))
    shapes = {"boxes": (*shape, 4), "scores": shape, "labels": shape, "count": (batch,)}
    outputs = _unwritten(device, shapes)
    given = {
        "boxes": device.put(tensors["region_boxes"]),
        "scores": device.put(tensors["region_scores"]),
        "region_count": device.put(tensors["region_count"]),
        "best_boxes": outputs["boxes"],
        "best_scores": outputs["scores"],
        "labels": outputs["labels"],
        "count": outputs["count"],
        "workspace": device.put(np.zeros(library.workspace(problem), np.uint8)),
    }
    return _call(device, partial(library.multiclass_nms, problem), outputs, given)


CALLS = {"proposals": proposals_call, "roi_align": roi_align_call, "nms": nms_call}


def _maps(
    device: BareDevice, tensors: Tensors, form: str, prefixes: tuple[str, ...]
) -> tuple[tuple[tuple[int, int], ...], list[Memory]]:
    """Sizes of the maps whose names begin so, level by level, and the maps on the device."""
    maps = [values for prefix in prefixes for name, values in tensors.items() if name.startswith(prefix)]
    half, last = FORMATS[form]
    sizes = tuple((int(each.shape[2]), int(each.shape[3])) for each in maps)
    return sizes, [device.put(laid_out(each, half=half, last=last)) for each in maps]


def _names(form: str) -> tuple[Any, Any]:
    half, last = FORMATS[form]
    return "half" if half else "float32", "NHWC" if last else "NCHW"


def _attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _unwritten(device: BareDevice, shapes: Mapping[str, Any], kind: Any = np.float32) -> dict[str, Memory]:
    filled = {name: np.full(shape, _UNWRITTEN.get(name, kind(np.nan))) for name, shape in shapes.items()}
    return {name: device.put(values) for name, values in filled.items()}


def _call(
    device: BareDevice, launch: Callable[..., None], outputs: Mapping[str, Memory], given: Mapping[str, Any]
) -> Call:
    """A call whose launch takes the addresses of these arrays, by its arguments' names."""
    addresses = {
        name: [device.address(each) for each in array] if isinstance(array, list) else device.address(array)
        for name, array in given.items()
    }
    return Call(partial(launch, **addresses, stream=device.stream()), outputs, given)
