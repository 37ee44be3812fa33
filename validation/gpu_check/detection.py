"""The step about the detection kernels: proposals, RoIAlign and NMS against the ONNX functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import PssDetError
from pssdet.models.matching import match_detections
from pssdet.plugins.bindings.detection import DetectionLibrary
from pssdet.validation.gpu_check.bundle import Bundle
from pssdet.validation.gpu_check.detection_calls import CALLS, Call
from pssdet.validation.gpu_check.detection_cases import (
    FORMATS,
    KERNELS,
    Setting,
    Tensors,
    computed,
    drawn_inputs,
    single_call,
)
from pssdet.validation.gpu_check.device import BareDevice
from pssdet.validation.gpu_check.plan import Findings, Given

if TYPE_CHECKING:
    import onnx

LEAST_SHARE = 0.98  # of the rows must have a partner: an overlap at the threshold decides either way
BOX, SCORE = 0.05, 1e-5  # how near a partner is: its box in pixels, its score
FEATURES = {"fp32": 1e-4, "fp16": 2e-3}  # relative to the largest: half precision's own rounding is 5e-4

#: (batch, size) of what is computed; few maps and regions, since the functions run in NumPy.
SHAPES = ((1, (96, 128)), (2, (64, 96)))
CHANNELS, CLASSES = 8, 4


def check(given: Given) -> Findings:
    """The kernels with the settings of the small detector."""
    return check_kernels(BareDevice(), DetectionLibrary(), Bundle(given.bundles / "mini").model())


def check_kernels(device: BareDevice, library: DetectionLibrary, model: onnx.ModelProto) -> Findings:
    """Every kernel in every format, twice."""
    failures: list[str] = []
    launched = 0
    whole = setting_of(model)
    for batch, size in SHAPES:
        setting = whole.at(size)
        for kernel in KERNELS:
            for form in forms_of(kernel):
                tensors = drawn_inputs(setting, kernel, batch, half=FORMATS[form][0])
                expected = computed(single_call(model, setting, kernel, tensors), tensors)
                calls = [CALLS[kernel](device, library, setting, form, tensors) for _ in range(2)]
                failed = _run_twice(device, calls, kernel, expected, form)
                launched += 1
                failures += [f"{kernel}, {form}, {batch} of {size}: {each}" for each in failed]
    return Findings({"launches": launched}, failures)


def _run_twice(
    device: BareDevice, calls: Sequence[Call], kernel: str, expected: Tensors, form: str
) -> list[str]:
    try:
        for call in calls:
            call.run()
    except PssDetError as error:
        return [str(error)]
    first, second = (call.results(device) for call in calls)
    failed = compared(kernel, expected, first, form.split(maxsplit=1)[0])
    if any(first[name].tobytes() != second[name].tobytes() for name in first):
        failed.append("two runs differ")
    return failed


def setting_of(model: onnx.ModelProto) -> Setting:
    """The conventions of an exported model, with few channels and classes."""
    return Setting.of(model, "few", SHAPES[0][1], CHANNELS, CLASSES)


def forms_of(kernel: str) -> Sequence[str]:
    """The formats that a kernel reads: NMS has no maps."""
    return ("fp32 NCHW",) if kernel == "nms" else tuple(FORMATS)


def compared(kernel: str, expected: Tensors, obtained: Tensors, kind: str) -> list[str]:
    """What is wrong of a kernel's or a plugin's outputs, in words; ``kind`` is the type of the maps."""
    if kernel == "roi_align":
        return check_features(expected["features"], obtained["features"], kind)
    return check_rows(expected, obtained, "boxes" if kernel == "nms" else "proposals")


def check_rows(expected: Tensors, obtained: Tensors, boxes: str) -> list[str]:
    """Boxes, scores and any labels, image by image, as sets; ``boxes`` names their output."""
    failures, rows, matched = [], 0, 0
    if not np.array_equal(expected["count"], obtained["count"]):
        failures.append(f"counts are {obtained['count'].tolist()} instead of {expected['count'].tolist()}")
    for image, count in enumerate(expected["count"].tolist()):
        wanted = _rows(expected, boxes, image, count)
        found = _rows(obtained, boxes, image, max(int(obtained["count"][image]), 0))
        if not np.isfinite(found).all():
            failures.append(f"image {image} has values that are not finite, or were not written")
            continue
        if (np.diff(found[:, 1]) > 0).any():
            failures.append(f"the scores of image {image} do not fall")
        match = match_detections(found, wanted, SCORE, BOX)
        rows, matched = rows + count, matched + match.matched
    if not rows:
        failures.append("there is nothing to be found, so nothing was compared")
    elif matched / rows < LEAST_SHARE:
        failures.append(f"{matched} of {rows} rows found, {LEAST_SHARE:.0%} must be")
    return failures


def check_features(expected: NDArray[Any], obtained: NDArray[Any], kind: str) -> list[str]:
    """Features by value; a region on the border of two levels may come from either."""
    limit, failures = FEATURES[kind], []
    values = obtained.astype(np.float64)
    if not np.isfinite(values).all():
        failures.append("values that are not finite, or were not written")
        values = np.nan_to_num(values)
    largest = max(float(np.abs(expected).max()), 1e-30)
    good = np.abs(values - expected).max(axis=(1, 2, 3)) / largest <= limit
    if good.mean() < LEAST_SHARE:
        failures.append(
            f"{int(good.sum())} of {len(good)} regions within {limit:.0e}, {LEAST_SHARE:.0%} must be"
        )
    return failures


def _rows(tensors: Tensors, boxes: str, image: int, count: int) -> NDArray[np.float64]:
    """Rows (label, score, x1, y1, x2, y2) of an image; proposals are of one class."""
    scores = tensors["scores"][image, :count]
    labels = tensors["labels"][image, :count] if "labels" in tensors else np.zeros(len(scores))
    return np.column_stack((labels, scores, tensors[boxes][image, :count])).astype(np.float64)
