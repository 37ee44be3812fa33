"""The steps about the detection kernels: agreement with the bundle, repeatability, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import CARD, EXPECTED, Tensors, read_card
from benchmarks.gpu.cuda_device import BareDevice
from benchmarks.gpu.detection_calls import CALLS, Call
from benchmarks.gpu.detection_cases import CHECKED, EVERY, FORMATS, KERNELS, Setting, drawn_inputs
from benchmarks.gpu.seeded_weights import digest
from benchmarks.gpu.suite import Result, Step
from benchmarks.gpu.timing import measure
from pssdet.errors import BadInput
from pssdet.files import read_arrays, sha256_of
from pssdet.models.matching import match_detections
from pssdet.plugins.bindings.detection import DetectionLibrary

_PER_RECORD = 10
LEAST_SHARE = 0.98  # of the rows must have a partner: an overlap at the threshold decides either way
BOX, SCORE = 0.05, 1e-5  # how near a partner is: its box in pixels, its score
FEATURES = {"fp32": 1e-4, "fp16": 2e-3}  # relative to the largest: half precision's own rounding is 5e-4

Row = dict[str, Any]


class KernelBundle:
    """The bundle of the detection kernels; ``BadInput`` if it is missing or altered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        card = read_card(folder)
        self.settings = [Setting(**{**each, "size": tuple(each["size"])}) for each in card["settings"]]
        self._inputs: Mapping[str, str] = card["inputs"]
        self._arrays = read_arrays(folder / EXPECTED)

    def identity(self) -> str:
        """Equal for folders whose results belong together."""
        return sha256_of(self.folder / CARD)

    def of(self, setting: Setting, kernel: str, kind: str, tensors: Tensors) -> Tensors:
        """The outputs for inputs drawn here; ``BadInput`` if these are not those drawn at home."""
        key = f"{setting.name} {kernel} {kind}"
        if digest(tensors) != self._inputs[key]:
            raise BadInput(
                f"the tensors drawn here for {key} are not those drawn at home; pack with this version"
            )
        return {name: self._arrays[f"{key} {name}"] for name in KERNELS[kernel]}


@dataclass(frozen=True)
class KernelBench:
    """What the steps work with."""

    device: BareDevice
    library: DetectionLibrary
    bundle: KernelBundle
    iterations: int = 300
    batches: Sequence[int] = (1, 4, 8)


def steps(bench: KernelBench) -> Iterator[Step]:
    """The correctness of each setting, then its times."""
    for setting in bench.bundle.settings:
        yield Step(f"correctness {setting.name}", 5, partial(_correctness, bench, setting))
    for setting in bench.bundle.settings:
        for batch in bench.batches:
            yield Step(f"times {setting.name} N={batch}", 5, partial(_times, bench, setting, batch))


def _correctness(bench: KernelBench, setting: Setting) -> Result:
    rows = [_checked(bench, setting, kernel, form) for kernel in KERNELS for form in forms_of(kernel)]
    return {"size": list(setting.size), "batch": CHECKED, "rows": rows}


def forms_of(kernel: str) -> Sequence[str]:
    """The formats that a kernel reads: NMS has no maps."""
    return ("fp32 NCHW",) if kernel == "nms" else tuple(FORMATS)


def _checked(bench: KernelBench, setting: Setting, kernel: str, form: str) -> Row:
    kind = form.split(maxsplit=1)[0]
    tensors = drawn_inputs(setting, kernel, CHECKED, half=FORMATS[form][0])
    expected = bench.bundle.of(setting, kernel, kind, tensors)
    calls = [CALLS[kernel](bench.device, bench.library, setting, form, tensors) for _ in range(2)]
    for call in calls:
        call.run()
    first, second = (call.results(bench.device) for call in calls)
    if kernel == "roi_align":
        row = check_features(expected["features"], first["features"][::EVERY], kind)
    else:
        row = check_rows(expected, first, "boxes" if kernel == "nms" else "proposals")
    if any(first[name].tobytes() != second[name].tobytes() for name in first):
        row["failures"].append("two runs differ")
    return {"kernel": kernel, "format": form, **row}


def _times(bench: KernelBench, setting: Setting, batch: int) -> Result:
    """Each kernel in a CUDA graph of several launches; a time is one launch's."""
    device = bench.device
    replays: dict[str, Any] = {}
    for kernel in KERNELS:
        for form in forms_of(kernel):
            tensors = drawn_inputs(setting, kernel, batch, half=FORMATS[form][0])
            call = CALLS[kernel](bench.device, bench.library, setting, form, tensors)
            replays[f"{kernel} {form}"] = device.record(partial(_repeated, call))
    return {"batch": batch, "times": measure(device.times_us, replays, _PER_RECORD, bench.iterations)}


def _repeated(call: Call) -> None:
    for _ in range(_PER_RECORD):
        call.run()


def check_rows(expected: Tensors, obtained: Tensors, boxes: str) -> Row:
    """Boxes, scores and any labels, image by image, as sets; ``boxes`` names their output."""
    failures, rows, matched, worst = [], 0, 0, 0.0
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
        rows, matched, worst = rows + count, matched + match.matched, max(worst, match.box)
    share = matched / rows if rows else 1.0
    if share < LEAST_SHARE:
        failures.append(f"{matched} of {rows} rows found, {LEAST_SHARE:.0%} must be")
    return {"rows": rows, "matched": matched, "difference": worst, "limit": BOX, "failures": failures}


def check_features(expected: NDArray[Any], obtained: NDArray[Any], kind: str) -> Row:
    """Features by value; a region on the border of two levels may come from either."""
    limit, failures = FEATURES[kind], []
    values = obtained.astype(np.float64)
    if not np.isfinite(values).all():
        failures.append("values that are not finite, or were not written")
        values = np.nan_to_num(values)
    largest = max(float(np.abs(expected).max()), 1e-30)
    differences = np.abs(values - expected).max(axis=(1, 2, 3)) / largest
    good = differences <= limit
    if good.mean() < LEAST_SHARE:
        failures.append(
            f"{int(good.sum())} of {len(good)} regions within {limit:.0e}, {LEAST_SHARE:.0%} must be"
        )
    worst = float(differences[good].max(initial=0.0))
    return {
        "rows": len(good),
        "matched": int(good.sum()),
        "difference": worst,
        "limit": limit,
        "failures": failures,
    }


def _rows(tensors: Tensors, boxes: str, image: int, count: int) -> NDArray[np.float64]:
    """Rows (label, score, x1, y1, x2, y2) of an image; proposals are of one class."""
    scores = tensors["scores"][image, :count]
    labels = tensors["labels"][image, :count] if "labels" in tensors else np.zeros(len(scores))
    return np.column_stack((labels, scores, tensors[boxes][image, :count])).astype(np.float64)
