"""Pack bundles for a GPU host that has no Paddle, no ONNX Runtime and no network.

    python benchmarks/gpu/pack.py DEST [--cases mini row4 ...] [--limit-mib 56]

One folder per case below DEST: the exported model (seeded ones without their large parameters),
pictures, and what ONNX Runtime (for ``mini`` also Paddle) finds in them on the CPU; ``kernels`` has
the ONNX functions' outputs for drawn tensors. A bundle that is there and whole is kept.
Exit code: 0 done, 1 an export failed, 2 usage, 3 a package is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

import numpy as np

from benchmarks.gpu.bundle import (
    EXPECTED,
    SCHEMA,
    Case,
    Picture,
    Tensors,
    network_image,
    read_card,
    save_arrays,
    write_bundle,
    write_card,
)
from benchmarks.gpu.detection_cases import CHECKED, EVERY, KERNELS, Setting, drawn_inputs
from benchmarks.gpu.environment import ROOT
from benchmarks.gpu.seeded_weights import digest, seed_weights, strip_weights
from benchmarks.gpu.suite import exit_code, say
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import staged_folder

if TYPE_CHECKING:
    import onnx

    from pssdet.models.zoo import ZooEntry

SCENES = 300
PACKAGES = ("numpy", "onnx", "onnxruntime", "paddlepaddle", "opencv-python-headless")


@dataclass(frozen=True)
class CaseSpec:
    """A case to pack."""

    name: str
    model: str
    # (height, width) of the pictures; None: by the detector's reader, and its own weights
    size: tuple[int, int] | None
    pictures: int
    batches: tuple[int, ...]


SPECS = {
    spec.name: spec
    for spec in (
        CaseSpec("mini", "mini_faster", None, SCENES, (1, 8)),
        CaseSpec("row4", "faster_rcnn_enhance_3x_coco", (640, 640), 8, (1, 4, 8)),
        CaseSpec("row1", "faster_rcnn_dcn_r50_vd_fpn_3x_server_side", (640, 640), 8, (1, 4, 8)),
        # A 4:3 picture in row 2's reader, padded.
        CaseSpec("row2", "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side", (1024, 1344), 4, (1, 4)),
    )
}
KERNEL_CASE = "kernels"


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        try:
            for name in options.cases:
                pack(name, options.destination / name, options.artifacts)
                check_size(options.destination / name, options.limit_mib)
        except ImportError as error:
            raise EnvironmentMissing(
                f"packing needs every package of this project ({error}); make venv"
            ) from error

    return exit_code(work)


def pack(name: str, folder: Path, artifacts: Path) -> None:
    """Pack a missing case; ``BadInput`` if that is impossible, ``GateFailed`` if its export is not verified."""
    if _is_packed(name, folder):
        say(f"{name}: {folder} is there")
        return
    with staged_folder(folder) as stage:
        if name == KERNEL_CASE:
            write_kernels(stage, _settings())
        else:
            pack_model(SPECS[name], stage, artifacts)
    say(f"{name}: wrote {folder}")


def pack_model(spec: CaseSpec, folder: Path, artifacts: Path) -> None:
    """A model, its pictures and the detections in them."""
    import onnx

    from pssdet.engines.precision.recipe import recipe_for
    from pssdet.models.card import MODEL_ONNX, installed_versions
    from pssdet.models.zoo import find

    entry = find(spec.model)
    source = _exported(entry, artifacts, seeded=spec.size is not None)
    exported = onnx.load(source / MODEL_ONNX)
    check_rewrite(exported, source)
    travelling = exported if spec.size is None else strip_weights(exported)
    pictures = list(_pictures(spec, entry, artifacts))
    case = Case(
        spec.name,
        entry.name,
        spec.size is not None,
        entry.preprocessing.mean,
        entry.preprocessing.std,
        recipe_for(entry.name, exported.graph).fp32,
        ("onnxruntime",) if spec.size else ("onnxruntime", "paddle"),
        spec.batches,
        installed_versions(*PACKAGES),
    )
    say(f"{spec.name}: {len(pictures)} pictures in {', '.join(case.references)}")
    expected = {"onnxruntime": _in_onnxruntime(seed_weights(travelling), case, pictures)}
    if "paddle" in case.references:
        expected["paddle"] = _in_paddle(entry, case, pictures)
    write_bundle(folder, case, travelling, pictures, expected)


def check_rewrite(exported: onnx.ModelProto, source: Path) -> None:
    """Raise ``BadInput`` for a model that has no TensorRT graph, such as one of an earlier version."""
    from pssdet.engines.trt.graph.rewrite import plugin_graph

    try:
        plugin_graph(exported)
    except BadInput as error:
        raise BadInput(f"{source}: {error}; remove the folder and pack again") from error


def check_size(folder: Path, limit_mib: float) -> None:
    """Raise ``BadInput`` for a folder that is too large for one copy."""
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    if size > limit_mib:
        raise BadInput(
            f"{folder} has {size:.0f} MiB, one copy takes {limit_mib:g}; raise --limit-mib if yours takes more"
        )


def write_kernels(folder: Path, settings: list[Setting]) -> None:
    """Fill an empty folder: settings, hashes of their inputs, outputs of the ONNX functions."""
    expected: Tensors = {}
    inputs: dict[str, str] = {}
    for setting, half, kernel in product(settings, (False, True), KERNELS):
        if half and kernel == "nms":  # it has no maps
            continue
        key = f"{setting.name} {kernel} {'fp16' if half else 'fp32'}"
        tensors = drawn_inputs(setting, kernel, CHECKED, half=half)
        inputs[key] = digest(tensors)
        expected |= {
            f"{key} {output}": values for output, values in _computed(setting, kernel, tensors).items()
        }
    save_arrays(folder / EXPECTED, expected)
    card = {"schema": SCHEMA, "settings": [asdict(setting) for setting in settings], "inputs": inputs}
    write_card(folder, card, (EXPECTED,))


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


def _settings() -> list[Setting]:
    return [setting_of(spec.model, spec.size) for spec in SPECS.values() if spec.size]


def _is_packed(name: str, folder: Path) -> bool:
    """Whether the folder has every file; of the kernels, for the settings of today."""
    try:
        card = read_card(folder)
    except BadInput:
        return False
    if name != KERNEL_CASE:
        return True
    wanted = json.dumps([asdict(each) for each in _settings()])
    return bool(card["settings"] == json.loads(wanted))


def _exported(entry: ZooEntry, artifacts: Path, *, seeded: bool) -> Path:
    from pssdet.export.pipeline import export_model
    from pssdet.models.card import MODEL_CARD

    folder = artifacts / ("gpu-exports" if seeded else "") / entry.name
    if not (folder / MODEL_CARD).is_file():
        export_model(entry, "none" if seeded else "", folder, lambda step: say(f"{entry.name}: {step}"))
    return folder


def _pictures(spec: CaseSpec, entry: ZooEntry, artifacts: Path) -> Iterator[Picture]:
    from pssdet.images import load
    from pssdet.models.preprocess import prepare
    from pssdet.opencv import cv2
    from pssdet.validation.scenes.dataset import ensure_dataset

    scenes = artifacts / "scenes" / f"heldout-{SCENES}"
    ensure_dataset(scenes, "heldout", SCENES)
    steps = entry.preprocessing
    for path in sorted(scenes.glob("*.jpg"))[: spec.pictures]:
        picture = load(path)
        if spec.size:
            height, width = spec.size
            content = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            yield Picture(np.asarray(content, np.uint8), (height, width), 1.0)
            continue
        ready = prepare(picture, steps)
        height, width = ready.image_size
        unit = ready.image[:, :height, :width].transpose(1, 2, 0) * np.array(steps.std) + np.array(steps.mean)
        content = np.rint(255 * unit).astype(np.uint8)
        # What travels is the reader's own 8-bit picture, or nothing is packed.
        if not np.array_equal(network_image(content, steps.mean, steps.std), ready.image):
            raise BadInput(f"{path}: this detector's reader does not resize 8-bit pixels; pack another one")
        yield Picture(content, ready.original_size, ready.scale)


def _in_onnxruntime(model: onnx.ModelProto, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    import onnx

    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession

    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        with closing(OnnxRuntimeSession(path, (), cuda=False)) as session:
            return [session.run(case.inputs([picture])) for picture in pictures]


def _in_paddle(entry: ZooEntry, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes, run_reference, with_parameters
    from pssdet.models.parameters import load_parameters

    model = TwoStageDetector(entry.architecture, entry.numerics)
    with_parameters(model, load_parameters(entry.checkpoint, parameter_shapes(model), entry.sha256)[0])
    return [run_reference(model, case.inputs([picture])) for picture in pictures]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pack bundles for a GPU host.")
    names = (KERNEL_CASE, *SPECS)
    parser.add_argument("destination", type=Path, help="gets one folder per case")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument(
        "--limit-mib", type=float, default=56, help="most that one folder may have (%(default)s)"
    )
    parser.add_argument(
        "--artifacts", type=Path, default=ROOT / "artifacts", help="exports and scenes (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
