"""The bundle of the detection kernels: the ONNX functions' outputs for drawn tensors, computed at home."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.bundle import EXPECTED, SCHEMA, Tensors, read_card, save_arrays, write_card
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
from benchmarks.gpu.environment import ROOT
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
    for setting in settings:
        for half in dict.fromkeys(half for half, _ in FORMATS.values()):
            kind = "fp16" if half else "fp32"
            for name, tensors, outputs in _computed(setting, half=half):
                inputs[f"{setting.name} {name} {kind}"] = digest(tensors)
                expected |= {f"{setting.name} {name} {kind} {output}": values for output, values in outputs.items()}
    with staged_folder(folder) as stage:
        save_arrays(stage / EXPECTED, expected)
        card = {"schema": SCHEMA, "settings": [asdict(setting) for setting in settings], "inputs": inputs}
        write_card(stage, card, (EXPECTED,))


def setting_of(model: str, size: tuple[int, int]) -> Setting:
    """A model's detection part."""
    from pssdet.export.functions import nms as nms_function
    from pssdet.export.functions import proposals as proposals_function
    from pssdet.export.functions import roi_align as roi_align_function
    from pssdet.models.zoo import find

    entry = find(model)
    arch, numerics = entry.architecture, entry.numerics
    return Setting(
        model,
        size,
        arch.fpn_channels,
        arch.num_classes,
        1 if arch.num_heads > 1 else arch.num_classes,
        proposals_function.attributes(arch, numerics),
        roi_align_function.attributes(arch, numerics),
        nms_function.attributes(numerics),
    )


def _computed(setting: Setting, *, half: bool) -> Iterator[tuple[str, Tensors, Tensors]]:
    """Name, inputs and outputs of each function."""
    from pssdet.export.functions import nms as nms_function
    from pssdet.export.functions import proposals as proposals_function
    from pssdet.export.functions import roi_align as roi_align_function
    from pssdet.models.architecture import Architecture

    levels = len(setting.proposals["strides"])
    arch = Architecture(anchor_sizes=tuple(16.0 * 2**i for i in range(levels)))
    tensors = proposals_inputs(setting, CHECKED, half=half)
    outputs = _call(proposals_function.generate_proposals(arch), setting.proposals, tensors)
    yield "proposals", tensors, dict(zip(("proposals", "scores", "count"), outputs, strict=True))
    tensors = roi_align_inputs(setting, CHECKED, half=half)
    (features,) = _call(roi_align_function.multilevel_roi_align(), setting.roi_align, tensors)
    yield "roi_align", tensors, {"features": features[::EVERY]}
    if not half:
        tensors = nms_inputs(setting, CHECKED)
        outputs = _call(nms_function.multiclass_nms(), setting.nms, tensors)
        yield "nms", tensors, dict(zip(("boxes", "scores", "labels", "count"), outputs, strict=True))


def _call(function: Any, attributes: Any, tensors: Tensors) -> list[Any]:
    """An ONNX function in ONNX Runtime, by the tests' own helper."""
    for folder in (ROOT / "tests" / "export", ROOT / "tests"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    from single_call import SingleCall

    outputs: list[Any] = SingleCall(function, dict(attributes))(*tensors.values())
    return outputs


def _is_there(folder: Path, settings: list[Setting]) -> bool:
    try:
        card = read_card(folder)
    except BadInput:
        return False
    return bool(card["settings"] == json.loads(json.dumps([asdict(setting) for setting in settings])))
