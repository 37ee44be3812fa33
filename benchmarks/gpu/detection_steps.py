"""The steps about the detection kernels alone: agreement with the bundle, repeatability, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.gpu.bundle import CARD, EXPECTED, Tensors, read_card
from benchmarks.gpu.detection_calls import Call, nms_call, proposals_call, roi_align_call
from benchmarks.gpu.detection_cases import (
    CHECKED,
    EVERY,
    FORMATS,
    Setting,
    digest,
    nms_inputs,
    proposals_inputs,
    roi_align_inputs,
)
from benchmarks.gpu.detection_checks import Row, check_features, check_rows, same
from benchmarks.gpu.suite import Result, Step
from benchmarks.gpu.timing import measure
from pssdet.errors import BadInput
from pssdet.files import sha256_of
from pssdet.plugins.bindings.detection import DetectionLibrary

if TYPE_CHECKING:
    from benchmarks.gpu.cuda_device import BareDevice

BATCHES = (1, 4, 8)
KERNELS = ("proposals", "roi_align", "nms")
_PER_RECORD = 10


class KernelBundle:
    """The bundle of the detection kernels.

    Raises:
        BadInput: it is missing or altered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        card = read_card(folder)
        self.settings = [Setting(**{**each, "size": tuple(each["size"])}) for each in card["settings"]]
        self._inputs: Mapping[str, str] = card["inputs"]
        with np.load(folder / EXPECTED) as arrays:
            self._arrays = {name: arrays[name] for name in arrays.files}

    def identity(self) -> str:
        """Equal for folders whose results belong together."""
        return sha256_of(self.folder / CARD)

    def of(self, setting: Setting, kernel: str, kind: str, tensors: Tensors) -> Tensors:
        """The outputs for inputs drawn here.

        Raises:
            BadInput: they are not those that were drawn at home.
        """
        key = f"{setting.name} {kernel} {kind}"
        if digest(tensors) != self._inputs[key]:
            raise BadInput(f"the tensors drawn here for {key} are not those drawn at home; pack with this version")
        return {name.removeprefix(f"{key} "): v for name, v in self._arrays.items() if name.startswith(f"{key} ")}


@dataclass(frozen=True)
class KernelBench:
    """What the steps work with."""

    device: BareDevice
    library: DetectionLibrary
    bundle: KernelBundle
    iterations: int = 300
    batches: Sequence[int] = BATCHES


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
    tensors = _inputs(setting, kernel, CHECKED, half=FORMATS[form][0])
    expected = bench.bundle.of(setting, kernel, kind, tensors)
    calls = [_call(bench, setting, kernel, form, tensors) for _ in range(2)]
    for call in calls:
        call.run()
    first, second = (call.results(bench.device) for call in calls)
    if kernel == "roi_align":
        row = check_features(expected["features"], first["features"][::EVERY], kind)
    else:
        row = check_rows(expected, first, "boxes" if kernel == "nms" else "proposals")
    if not same(first, second):
        row["failures"].append("two runs differ")
    return {"kernel": kernel, "format": form, **row}


def _times(bench: KernelBench, setting: Setting, batch: int) -> Result:
    """Each kernel in a CUDA graph of several launches; a time is one launch's."""
    device = bench.device
    replays: dict[str, Any] = {}
    for kernel in KERNELS:
        for form in forms_of(kernel):
            tensors = _inputs(setting, kernel, batch, half=FORMATS[form][0])
            call = _call(bench, setting, kernel, form, tensors)
            replays[f"{kernel} {form}"] = device.record(partial(_repeated, call))
    return {"batch": batch, "times": measure(device.times_us, replays, _PER_RECORD, bench.iterations)}


def _repeated(call: Call) -> None:
    for _ in range(_PER_RECORD):
        call.run()


def _inputs(setting: Setting, kernel: str, batch: int, *, half: bool) -> Tensors:
    if kernel == "nms":
        return nms_inputs(setting, batch)
    return (proposals_inputs if kernel == "proposals" else roi_align_inputs)(setting, batch, half=half)


def _call(bench: KernelBench, setting: Setting, kernel: str, form: str, tensors: Tensors) -> Call:
    if kernel == "nms":
        return nms_call(bench.device, bench.library, setting, tensors)
    half, last = FORMATS[form]
    make = proposals_call if kernel == "proposals" else roi_align_call
    return make(bench.device, bench.library, setting, tensors, half=half, last=last)
