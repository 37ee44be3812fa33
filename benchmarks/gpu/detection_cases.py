"""Tensors for the detection kernels, drawn from seeds: uniform values, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import Tensors

KERNELS = {  # with the names of their outputs
    "proposals": ("proposals", "scores", "count"),
    "roi_align": ("features",),
    "nms": ("boxes", "scores", "labels", "count"),
}
FORMATS = {"fp32 NCHW": (False, False), "fp16 NCHW": (True, False), "fp16 NHWC": (True, True)}  # half, NHWC
CHECKED = 2  # pictures in a comparison
EVERY = 8  # every so many of RoIAlign's regions are compared: features are large


@dataclass(frozen=True)
class Setting:
    """One detector's detection part at one size; the mappings are attributes of the ONNX functions."""

    name: str
    size: tuple[int, int]  # (height, width) of the network's input
    channels: int  # of the maps that RoIAlign reads
    classes: int
    box_classes: int  # 1: the classes share their boxes
    proposals: Mapping[str, Any]
    roi_align: Mapping[str, Any]
    nms: Mapping[str, Any]

    @property
    def regions(self) -> int:
        """Proposals of an image."""
        return int(self.proposals["post_nms_top_n"])

    @property
    def per_cell(self) -> int:
        """Anchors of a cell."""
        return len(self.proposals["anchors"]) // (4 * len(self.proposals["strides"]))

    def map_sizes(self, strides: Sequence[int]) -> list[tuple[int, int]]:
        """Heights and widths of the maps of these strides."""
        return [(-(-self.size[0] // stride), -(-self.size[1] // stride)) for stride in strides]


def proposals_inputs(setting: Setting, batch: int, *, half: bool) -> Tensors:
    """``score_0`` .., ``delta_0`` .., logits and small deltas, and ``image_size`` [N, 2]."""
    draw = _generator(1)
    sizes = setting.map_sizes(setting.proposals["strides"])
    per_cell = setting.per_cell
    inputs = {
        f"score_{i}": _rounded(8 * draw(batch, per_cell, *size) - 6, half=half) for i, size in enumerate(sizes)
    }
    for i, size in enumerate(sizes):
        inputs[f"delta_{i}"] = _rounded(draw(batch, 4 * per_cell, *size) - 0.5, half=half)
    return inputs | {"image_size": _image_sizes(setting, batch)}


def roi_align_inputs(setting: Setting, batch: int, *, half: bool) -> Tensors:
    """``map_0`` .. and ``rois`` [N, R, 4] of all sizes, the larger the rarer."""
    draw = _generator(2)
    sizes = setting.map_sizes(setting.roi_align["strides"])
    shape = (batch, setting.channels)
    inputs = {f"map_{i}": _rounded(2 * draw(*shape, *size) - 1, half=half) for i, size in enumerate(sizes)}
    height, width = setting.size
    extent = 4 + draw(batch, setting.regions, 2) ** 3 * (np.array([width, height]) - 8)
    corner = draw(batch, setting.regions, 2) * (np.array([width, height]) - extent)
    return inputs | {"rois": np.concatenate([corner, corner + extent], axis=2).astype(np.float32)}


def nms_inputs(setting: Setting, batch: int) -> Tensors:
    """``boxes`` [N, R, box classes, 4] in clusters, ``scores`` [N, R, classes], ``region_count``."""
    draw = _generator(3)
    height, width = setting.size
    centre = draw(batch, setting.regions // 4 + 1, 1, 2) * np.array([width, height])
    centre = np.repeat(centre, 4, axis=1)[:, : setting.regions]
    centre = centre + 20 * draw(batch, setting.regions, setting.box_classes, 2)
    half_extent = 10 + 60 * draw(batch, setting.regions, setting.box_classes, 2)
    boxes = np.concatenate([centre - half_extent, centre + half_extent], axis=3)
    bounds = np.array([width, height, width, height], np.float64)
    scores = draw(batch, setting.regions, setting.classes) ** 16
    counts = np.array([setting.regions - 17 * (number % 3) for number in range(batch)], np.int32)
    return {
        "boxes": boxes.clip(0, bounds).astype(np.float32),
        "scores": scores.astype(np.float32),
        "region_count": counts.clip(0),
    }


def drawn_inputs(setting: Setting, kernel: str, batch: int, *, half: bool) -> Tensors:
    """A kernel's inputs; those of NMS are float32 in any case."""
    if kernel == "nms":
        return nms_inputs(setting, batch)
    return (proposals_inputs if kernel == "proposals" else roi_align_inputs)(setting, batch, half=half)


def _image_sizes(setting: Setting, batch: int) -> NDArray[np.float32]:
    """The whole input, and inputs that are padded by some rows and columns."""
    height, width = setting.size
    rows = [(height - 7 * (number % 3), width - 11 * (number % 3)) for number in range(batch)]
    return np.array(rows, np.float32)


def _generator(seed: int) -> Any:
    random = np.random.RandomState(seed)
    return lambda *shape: random.random_sample(prod(shape)).reshape(shape)


def _rounded(values: NDArray[np.float64], *, half: bool) -> NDArray[np.float32]:
    """float32; through half precision, if the kernel reads that."""
    single = values.astype(np.float32)
    return single.astype(np.float16).astype(np.float32) if half else single
