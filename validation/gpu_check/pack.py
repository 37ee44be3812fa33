"""Packs bundles for a GPU host that has no Paddle, no ONNX Runtime and no network.

A folder for each case: the exported model (seeded ones without their large parameters), its probe, pictures,
and what ONNX Runtime (of the scenes also Paddle) finds in them on the CPU. A bundle that is whole is kept.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import staged_folder
from pssdet.validation.gpu_check.bundle import (
    PROBE,
    Case,
    Picture,
    Tensors,
    network_image,
    read_card,
    write_bundle,
)
from pssdet.validation.gpu_check.seeded_weights import seed_weights, strip_weights

if TYPE_CHECKING:
    import onnx

    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
    from pssdet.models.zoo import ZooEntry

Say = Callable[[str], None]

SCENES = 300
ARTIFACTS = Path("artifacts")
PACKAGES = ("numpy", "onnx", "onnxruntime", "paddlepaddle", "opencv-python-headless")


@dataclass(frozen=True)
class CaseSpec:
    """A case to pack."""

    name: str
    model: str
    # (height, width) of the pictures, parameters drawn; None: by the detector's reader, its own parameters
    size: tuple[int, int] | None
    pictures: int
    batches: tuple[int, ...]


SPECS = {
    spec.name: spec
    for spec in (
        CaseSpec("mini", "mini_faster", None, 0, (1, 8)),
        CaseSpec("scenes", "mini_faster", None, SCENES, (1, 8)),
        CaseSpec("row4", "faster_rcnn_enhance_3x_coco", (640, 640), 8, (1, 4, 8)),
        CaseSpec("row1", "faster_rcnn_dcn_r50_vd_fpn_3x_server_side", (640, 640), 8, (1, 4, 8)),
        # A 4:3 picture in row 2's reader, padded.
        CaseSpec("row2", "cascade_rcnn_dcn_r50_vd_fpn_3x_server_side", (1024, 1344), 4, (1, 4)),
    )
}
#: What the check uses; the rest is for the benchmarks.
CHECKED = ("mini", "scenes", "row4")


def pack(destination: Path, cases: Sequence[str], say: Say, artifacts: Path = ARTIFACTS) -> None:
    """Pack the missing cases, those of the check without names; exports and scenes are kept in ``artifacts``.

    Raises:
        BadInput: there is no such case, or an export is of an earlier version.
        EnvironmentMissing: a package is missing.
        GateFailed: an export is not verified.
    """
    if unknown := [name for name in cases if name not in SPECS]:
        raise BadInput(f"there is no case {unknown[0]!r}; choose from {', '.join(SPECS)}")
    for name in cases or CHECKED:
        folder = destination / name
        try:
            read_card(folder)
            say(f"{name}: {folder} is there")
        except (BadInput, EnvironmentMissing):
            try:
                with staged_folder(folder) as stage:
                    pack_model(SPECS[name], stage, artifacts, say)
            except ImportError as error:
                raise EnvironmentMissing(
                    f"packing needs every package of this project ({error}); make venv"
                ) from error
            say(f"{name}: wrote {folder}")


def pack_model(spec: CaseSpec, folder: Path, artifacts: Path, say: Say) -> None:
    """A model, its probe, its pictures and the detections in them."""
    import onnx

    from pssdet.engines.precision.recipe import recipe_for
    from pssdet.engines.trt.graph.rewrite import plugin_graph
    from pssdet.models.card import MODEL_ONNX, installed_versions
    from pssdet.models.stages import LIMITS
    from pssdet.models.zoo import find

    entry, seeded = find(spec.model), spec.size is not None
    source = _exported(entry, artifacts, say, seeded=seeded)
    exported = onnx.load(source / MODEL_ONNX)
    try:
        plugin_graph(exported)
    except BadInput as error:
        raise BadInput(f"{source}: {error}; remove the folder and pack again") from error
    travelling = strip_weights(exported) if seeded else exported
    pictures = list(_pictures(spec, entry, artifacts))
    references: tuple[str, ...] = ("onnxruntime",) if seeded else ("onnxruntime", "paddle")
    limits: dict[str, dict[str, float]] = {
        precision: {"maps": each.maps, "score": each.score, "box": each.box, "share": each.detection_share}
        for precision, each in LIMITS.items()
    }
    case = Case(
        spec.name,
        entry.name,
        seeded,
        entry.preprocessing.mean,
        entry.preprocessing.std,
        recipe_for(entry.name, exported.graph).fp32,
        limits,
        references,
        spec.batches,
        installed_versions(*PACKAGES),
    )
    whole = seed_weights(travelling)
    if seeded:
        _make_probe(entry, whole, folder / PROBE)
    elif (source / PROBE).is_file():
        shutil.copyfile(source / PROBE, folder / PROBE)
    else:
        raise BadInput(f"{source} has no probe, it is of an earlier version; remove the folder and pack again")
    expected = {}
    if pictures:
        say(f"{spec.name}: {len(pictures)} pictures in {', '.join(references)}")
        expected["onnxruntime"] = _in_onnxruntime(whole, case, pictures)
    if pictures and not seeded:
        expected["paddle"] = _in_paddle(entry, case, pictures)
    write_bundle(folder, case, travelling, pictures, expected)


def _exported(entry: ZooEntry, artifacts: Path, say: Say, *, seeded: bool) -> Path:
    from pssdet.models.card import MODEL_CARD

    folder = artifacts / ("gpu-exports" if seeded else "") / entry.name
    if not (folder / MODEL_CARD).is_file():
        from pssdet.export.pipeline import export_model

        export_model(entry, "none" if seeded else "", folder, lambda step: say(f"{entry.name}: {step}"))
    return folder


def _pictures(spec: CaseSpec, entry: ZooEntry, artifacts: Path) -> Iterator[Picture]:
    from pssdet.images import load
    from pssdet.models.preprocess import prepare
    from pssdet.opencv import cv2
    from pssdet.validation.scenes.dataset import ensure_dataset

    if not spec.pictures:
        return
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


def _make_probe(entry: ZooEntry, model: onnx.ModelProto, path: Path) -> None:
    """What ONNX Runtime computes at every stage, since Paddle has other parameters."""
    from pssdet.models.probe import make_probe, write_probe
    from pssdet.models.stages import tap_names

    with _session(model, tap_names(entry.architecture)) as session:
        write_probe(path, make_probe(entry.preprocessing, entry.architecture, session.run))


def _in_onnxruntime(model: onnx.ModelProto, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    with _session(model, ()) as session:
        return [session.run(case.inputs([picture])) for picture in pictures]


@contextmanager
def _session(model: onnx.ModelProto, taps: tuple[str, ...]) -> Iterator[OnnxRuntimeSession]:
    import onnx

    from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession

    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        with closing(OnnxRuntimeSession(path, taps, cuda=False)) as session:
            yield session


def _in_paddle(entry: ZooEntry, case: Case, pictures: Sequence[Picture]) -> list[Tensors]:
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes, run_reference, with_parameters
    from pssdet.models.parameters import load_parameters

    model = TwoStageDetector(entry.architecture, entry.numerics)
    with_parameters(model, load_parameters(entry.checkpoint, parameter_shapes(model), entry.sha256)[0])
    return [run_reference(model, case.inputs([picture])) for picture in pictures]
