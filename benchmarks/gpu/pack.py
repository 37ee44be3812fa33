"""Pack bundles for a GPU host that has no Paddle, no ONNX Runtime and no network.

    python benchmarks/gpu/pack.py DEST [--cases mini row4 ...] [--limit-mib 56]

One folder per case below DEST: the exported model (seeded ones without their large parameters), pictures, and what
ONNX Runtime (for ``mini`` also Paddle) finds in them on the CPU; ``kernels`` has the ONNX functions' outputs for drawn
tensors. A bundle that is already there and whole is kept. Exit code: 0 done, 1 an export failed, 2 usage,
3 a package is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

import numpy as np

from benchmarks.gpu.bundle import Bundle, Case, Picture, Tensors, inputs_of, normalised, padded, write_bundle
from benchmarks.gpu.command import exit_code, say
from benchmarks.gpu.environment import ROOT
from benchmarks.gpu.seeded_weights import seed_weights, strip_weights
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import staged_folder

if TYPE_CHECKING:
    import onnx

    from pssdet.models.zoo import ZooEntry

SCENES = 300
PACKAGES = ("numpy", "onnx", "onnxruntime", "paddlepaddle", "opencv-python-headless")

Say = Callable[[str], None]


@dataclass(frozen=True)
class CaseSpec:
    """A case to pack.

    size: height and width of every picture; None: the detector's own reader on rendered scenes, with its own weights.
    pictures: how many.
    """

    name: str
    model: str
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
KERNELS = "kernels"


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack; the exit code."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        try:
            for name in options.cases:
                pack(name, options.destination / name, options.artifacts, say)
                check_size(options.destination / name, options.limit_mib)
        except ImportError as error:
            raise EnvironmentMissing(f"packing needs every package of this project ({error}); make venv") from error

    return exit_code(work)


def pack(name: str, folder: Path, artifacts: Path, say: Say) -> None:
    """One case into a folder, unless it is there.

    Raises:
        BadInput: the folder cannot be written to.
        GateFailed: the export could not be verified.
    """
    if name == KERNELS:
        from benchmarks.gpu.detection_pack import pack_kernels

        pack_kernels(folder, say)
        return
    if _is_whole(folder):
        say(f"{name}: {folder} is there")
        return
    spec = SPECS[name]
    with staged_folder(folder) as stage:
        pack_model(spec, stage, artifacts, say)
    say(f"{name}: wrote {folder}")


def pack_model(spec: CaseSpec, folder: Path, artifacts: Path, say: Say) -> None:
    """A model, its pictures and the detections in them."""
    import onnx

    from pssdet.engines.precision.recipe import recipe_for
    from pssdet.models.card import MODEL_ONNX, installed_versions
    from pssdet.models.zoo import find

    entry = find(spec.model)
    source = _exported(entry, artifacts, seeded=spec.size is not None, say=say)
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
    """Refuse a model that the GPU host cannot rewrite, such as an export by an earlier version.

    Raises:
        BadInput: something in it has no place in a TensorRT graph.
    """
    from pssdet.engines.trt.graph.rewrite import plugin_graph

    try:
        plugin_graph(exported)
    except BadInput as error:
        raise BadInput(f"{source}: {error}; remove the folder and pack again") from error


def check_size(folder: Path, limit_mib: float) -> None:
    """Refuse a folder that is too large for one copy.

    Raises:
        BadInput: its files are larger together.
    """
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    if size > limit_mib:
        raise BadInput(
            f"{folder} has {size:.0f} MiB, one copy takes {limit_mib:g}; raise --limit-mib if yours takes more"
        )


def _is_whole(folder: Path) -> bool:
    try:
        Bundle(folder)
    except BadInput:
        return False
    return True


def _exported(entry: ZooEntry, artifacts: Path, *, seeded: bool, say: Say) -> Path:
    """The folder of the exported model; exported there if need be."""
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
    for path in sorted(scenes.glob("*.jpg"))[: spec.pictures]:
        picture = load(path)
        if spec.size:
            height, width = spec.size
            content = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
            yield Picture(np.asarray(content, np.uint8), (height, width), 1.0)
            continue
        ready = prepare(picture, entry.preprocessing)
        height, width = ready.image_size
        mean, std = (np.array(each, np.float64) for each in (entry.preprocessing.mean, entry.preprocessing.std))
        unit = ready.image[:, :height, :width].transpose(1, 2, 0) * std + mean
        content = np.rint(255 * unit).astype(np.uint8)
        # What travels is the reader's own 8-bit picture, or nothing is packed.
        if not np.array_equal(padded(normalised(content, tuple(mean), tuple(std))), ready.image):
            raise BadInput(f"{path}: this detector's reader does not resize 8-bit pixels; pack another one")
        yield Picture(content, ready.original_size, ready.scale)


def _in_onnxruntime(model: onnx.ModelProto, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    import tempfile

    import onnx

    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession

    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        with closing(OnnxRuntimeSession(path, (), cuda=False)) as session:
            return [session.run(inputs_of(case, [picture])) for picture in pictures]


def _in_paddle(entry: ZooEntry, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import build_detector, parameter_shapes, run_reference
    from pssdet.models.parameters import load_parameters

    model = TwoStageDetector(entry.architecture, entry.numerics)
    build_detector(model, load_parameters(entry.checkpoint, parameter_shapes(model), entry.sha256)[0])
    return [run_reference(model, inputs_of(case, [picture])) for picture in pictures]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pack bundles for a GPU host.")
    names = (KERNELS, *SPECS)
    parser.add_argument("destination", type=Path, help="gets one folder per case")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--limit-mib", type=float, default=56, help="most that one folder may have (%(default)s)")
    parser.add_argument("--artifacts", type=Path, default=ROOT / "artifacts", help="exports and scenes (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
