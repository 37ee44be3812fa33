"""The step that times the detection kernels with a detector's own sizes and settings.

A time is that of a CUDA graph of ten launches, divided by ten, between two CUDA events, as the median of the
runs; the tensors stay in the cache if they fit. Bundles of ``gpu-check --pack`` say what the settings are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.gpu.dcnv2 import measured
from pssdet.plugins.bindings.detection import DetectionLibrary
from pssdet.validation.gpu_check.bundle import Bundle
from pssdet.validation.gpu_check.detection import forms_of
from pssdet.validation.gpu_check.detection_calls import CALLS, Call
from pssdet.validation.gpu_check.detection_cases import FORMATS, KERNELS, Setting, drawn_inputs
from pssdet.validation.gpu_check.device import BareDevice
from pssdet.validation.gpu_check.plan import Findings, Given

PER_RECORD = 10
BATCHES = (1, 4, 8)
#: The four detectors': channels of the FPN, classes.
CHANNELS, CLASSES = 256, 80


def times(given: Given) -> Findings:
    """Each kernel in each format, microseconds of one launch for the whole batch."""
    device, library = BareDevice(), DetectionLibrary()
    bundle = Bundle(given.bundles / given.argument)
    size = bundle.pictures[0].padded_size
    setting = Setting.of(bundle.model(), bundle.case.model, size, CHANNELS, CLASSES)
    return time_setting(device, library, setting)


def time_setting(device: BareDevice, library: DetectionLibrary, setting: Setting) -> Findings:
    """The same for any setting."""
    figures: dict[str, Any] = {}
    for batch in BATCHES:
        replays = {}
        for kernel in KERNELS:
            for form in forms_of(kernel):
                tensors = drawn_inputs(setting, kernel, batch, half=FORMATS[form][0])
                call = CALLS[kernel](device, library, setting, form, tensors)
                replays[f"{kernel} {form}"] = device.record(partial(_repeated, call))
        figures[f"N={batch}"] = measured(device, replays, PER_RECORD)
    return Findings(figures)


def _repeated(call: Call) -> None:
    for _ in range(PER_RECORD):
        call.run()
