"""What is timed: the models and engines of one detector, made once, and each candidate opened."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.backend import DEFAULTS, BuildOptions, PrecisionOptions, Session
from pssdet.engines.build_engine import build_engine, engine_folder
from pssdet.engines.cache import build_key, is_engine_of
from pssdet.engines.input_shapes import padded
from pssdet.engines.registry import backend_named, choose_backend, open_engine
from pssdet.errors import BadInput, PssDetError
from pssdet.files import staged_folder
from pssdet.models.card import (
    ENGINE_CARD,
    EngineCard,
    FileRecord,
    ModelCard,
    Precision,
    encode,
    installed_versions,
    read_model_card,
)
from pssdet.models.preprocess import as_batch, prepare, sample_picture
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import ZooEntry

#: The engine of each candidate that has one; ``paddle`` takes its parameters from the last one.
ENGINES: dict[str, tuple[str, Precision]] = {
    "onnxruntime_plain": ("onnxruntime", "fp32"),
    "ours_fp32": ("openvino", "fp32"),
    "ours_bf16": ("openvino", "bf16"),
    "ours_int8": ("openvino", "int8"),
    "paddle_eager": ("paddle", "fp32"),
}
#: Every candidate, in the order of the tables.
CANDIDATES = (
    "paddle",
    "paddle_eager",
    "onnxruntime_plain",
    "openvino_plain",
    "ours_fp32",
    "ours_bf16",
    "ours_int8",
    "floor",
)
#: Slow, and one picture at a time: it runs at batch 1, in every third round.
PADDLE = ("paddle", "paddle_eager")

NOT_JUDGED = "accuracy not judged: seeded parameters"
#: Scenes that int8 takes its ranges from.
_SCENES = 24


class Prepared(NamedTuple):
    """A detector ready to be measured.

    Attributes:
        model: the exported model's folder.
        engines: folder of each engine, by candidate.
        missing: why a candidate cannot be measured here.
        seeded: its parameters are random, so that its detections mean nothing.
    """

    card: ModelCard
    model: Path
    engines: dict[str, Path]
    missing: dict[str, str]
    seeded: bool

    @property
    def candidates(self) -> tuple[str, ...]:
        """Those that can be measured, in the order of the tables."""
        return tuple(name for name in CANDIDATES if name not in self.missing)


def prepare_detector(entry: ZooEntry, folder: Path, progress: Progress) -> Prepared:
    """Export a detector and build its engines into ``folder``, unless they are there.

    Parameters are the bundled ones, or else seeded ones; an export of a checkpoint that lies there is taken.

    Raises:
        GateFailed: the export, or an engine in float32, could not be proved.
    """
    card = _exported(entry, folder, progress)
    seeded = card.weights.kind == "seeded"
    engines, missing = {}, {}
    for name, (backend, precision) in ENGINES.items():
        try:
            engines[name] = _engine(folder, card, backend, precision, progress)
        except PssDetError as error:
            if precision == "fp32":
                raise
            missing[name] = str(error)
    return Prepared(card, folder, engines, missing, seeded)


def open_candidate(name: str, prepared: Prepared, inputs: Mapping[str, NDArray[np.float32]]) -> Session:
    """The session of a candidate, for inputs of these shapes."""
    shapes = {each: value.shape for each, value in inputs.items()}
    if name == "openvino_plain":
        from benchmarks.cpu_speed.openvino_models import plain_session

        return plain_session(prepared.model, shapes)
    if name == "floor":
        from benchmarks.cpu_speed.openvino_models import floor_session

        return floor_session(prepared.model, prepared.card, shapes)
    if name == "paddle":
        from benchmarks.cpu_speed.paddle_predictor import PaddlePredictorSession

        folder = prepared.engines["paddle_eager"]
        return PaddlePredictorSession(folder / backend_named("paddle").files[0], prepared.card)
    return open_engine(prepared.engines[name]).session


def largest_size(steps: Preprocessing) -> tuple[int, int]:
    """Height and width of the largest padded picture that a detector's reader gives."""
    return padded(steps.short_side), padded(steps.long_side)


def picture_of(steps: Preprocessing) -> NDArray[np.uint8]:
    """The bundled picture, resized so that the reader leaves it as it is; uint8 RGB."""
    picture: NDArray[np.uint8] = cv2.resize(sample_picture(), (steps.long_side, steps.short_side))
    return picture


def inputs_of(steps: Preprocessing, batch: int) -> dict[str, NDArray[np.float32]]:
    """A batch of the test picture and its mirror image in turn."""
    picture = picture_of(steps)
    both = [prepare(np.ascontiguousarray(each), steps) for each in (picture, picture[:, ::-1])]
    return as_batch([both[index % 2] for index in range(batch)])


def _exported(entry: ZooEntry, folder: Path, progress: Progress) -> ModelCard:
    try:
        card = read_model_card(folder)
        card.onnx.verify(folder)
    except BadInput:
        from pssdet.export.pipeline import export_model

        export_model(entry, "" if entry.checkpoint.startswith("bundled:") else "none", folder, progress)
        card = read_model_card(folder)
    if card.model != entry.name:
        raise BadInput(f"{folder} holds {card.model}, not {entry.name}; choose another --work folder")
    return card


def _engine(folder: Path, card: ModelCard, backend_name: str, precision: Precision, progress: Progress) -> Path:
    """The folder of an engine, built unless what is there was made of the same inputs by the same code."""
    backend = choose_backend(backend_name, precision)
    target = engine_folder(folder, backend, precision)
    options: BuildOptions = DEFAULTS
    if precision == "int8":
        options = PrecisionOptions(calibration=_scenes(folder.parent / "scenes", progress))
    options = backend.accept(options, precision)
    key = build_key(card, backend, precision, options, installed_versions(*backend.packages))
    if (target / ENGINE_CARD).is_file() and is_engine_of(key, target):
        return target
    progress(f"building {target}")
    with staged_folder(target) as stage:
        if precision == "fp32" or card.weights.kind != "seeded":
            built = build_engine(folder, backend, precision, stage, progress, options)
        else:
            # Without the proof: on random parameters a reduced precision need not agree with float32.
            draft = _draft(card, backend_name, precision)
            built = backend.build(folder, draft, stage, options, progress)
            built = replace(built, files=tuple(FileRecord.of(stage / name) for name in backend.files))
        (stage / ENGINE_CARD).write_bytes(encode(replace(built, key=key)))
    return target


def _draft(card: ModelCard, backend: str, precision: Precision) -> EngineCard:
    return EngineCard(
        backend=backend,
        precision=precision,
        emulated=False,
        files=(),
        fp32_nodes=0,
        versions=installed_versions(*backend_named(backend).packages),
        machine=f"{platform.system()} {platform.machine()}",
        build_seconds=0,
        verification=(),
        model=card,
        reason=NOT_JUDGED,
    )


def _scenes(folder: Path, progress: Progress) -> Path:
    from pssdet.validation.scenes.dataset import ensure_dataset

    progress(f"rendering {_SCENES} scenes for the ranges of int8")
    ensure_dataset(folder, "train", _SCENES)
    return folder
