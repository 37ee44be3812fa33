"""The bundle of the detection kernels: the ONNX functions' outputs for drawn tensors, computed at home."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu.bundle import EXPECTED, SCHEMA, Tensors, read_card, save_arrays, write_card
from benchmarks.gpu.detection_cases import CHECKED, EVERY, KERNELS, Setting, drawn_inputs
from benchmarks.gpu.environment import ROOT
from benchmarks.gpu.seeded_weights import digest
from pssdet.errors import BadInput
from pssdet.files import staged_folder

#: Rows and the sizes of their network input.
ROWS = {
    "faster_rcnn_enhance_3x_coco": (640, 640),
    "faster_rcnn_dcn_r50_vd_fpn_3x_server_side": (640, 640),
    "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side": (1024, 1344),
}


def pack_kernels(folder: Path, say: Callable[[str], None]) -> None:
    """Fill the folder, unless it is there already.

    Raises:
        BadInput: it cannot be written to.
    """
    settings = [setting_of(model, size) for model, size in ROWS.items()]
    if _is_there(folder, settings):
        say(f"kernels: {folder} is there")
        return
    write_kernels(folder, settings)
    say(f"kernels: wrote {folder}")


def write_kernels(folder: Path, settings: list[Setting]) -> None:
    """The settings, the hashes of their inputs and the outputs of the ONNX functions."""
    expected: Tensors = {}
    inputs: dict[str, str] = {}
    for setting, half, kernel in product(settings, (False, True), KERNELS):
        if half and kernel == "nms":  # it has no maps
            continue
        key = f"{setting.name} {kernel} {'fp16' if half else 'fp32'}"
        tensors = drawn_inputs(setting, kernel, CHECKED, half=half)
        inputs[key] = digest(tensors)
        expected |= {f"{key} {output}": values for output, values in _computed(setting, kernel, tensors).items()}
    with staged_folder(folder) as stage:
        save_arrays(stage / EXPECTED, expected)
        card = {"schema": SCHEMA, "settings": [asdict(setting) for setting in settings], "inputs": inputs}
        write_card(stage, card, (EXPECTED,))


def setting_of(model: str, size: tuple[int, int]) -> Setting:
    """A model's detection part."""
    from pssdet.export.functions import nms, proposals, roi_align
    from pssdet.models.zoo import find

    entry = find(model)
    arch, numerics = entry.architecture, entry.numerics
    return Setting(
        model,
        size,
        arch.fpn_channels,
        arch.num_classes,
        1 if arch.num_heads > 1 else arch.num_classes,
        proposals.attributes(arch, numerics),
        roi_align.attributes(arch, numerics),
        nms.attributes(numerics),
    )


def _computed(setting: Setting, kernel: str, tensors: Tensors) -> Tensors:
    """The outputs of an ONNX function in ONNX Runtime, by the tests' own helper."""
    from pssdet.export.functions import nms, proposals, roi_align
    from pssdet.models.architecture import Architecture

    for folder in (ROOT / "tests" / "export", ROOT / "tests"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    from single_call import SingleCall

    levels = len(setting.proposals["strides"])
    arch = Architecture(anchor_sizes=tuple(16.0 * 2**i for i in range(levels)))
    function: Any = {
        "proposals": partial(proposals.generate_proposals, arch),
        "roi_align": roi_align.multilevel_roi_align,
        "nms": nms.multiclass_nms,
    }[kernel]
    outputs = SingleCall(function(), dict(getattr(setting, kernel)))(*tensors.values())
    every = EVERY if kernel == "roi_align" else 1
    return {name: values[::every] for name, values in zip(KERNELS[kernel], outputs, strict=True)}


def _is_there(folder: Path, settings: list[Setting]) -> bool:
    try:
        card = read_card(folder)
    except BadInput:
        return False
    return bool(card["settings"] == json.loads(json.dumps([asdict(setting) for setting in settings])))
