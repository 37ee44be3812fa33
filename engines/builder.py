"""One build: a verified model becomes an engine's folder with its card, or nothing."""

from __future__ import annotations

import platform
from contextlib import closing
from pathlib import Path
from time import perf_counter

import msgspec

from pssdet.console import Progress
from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession
from pssdet.engines.protocol import Backend
from pssdet.errors import GateFailed
from pssdet.files import staged_folder
from pssdet.models.card import (
    ENGINE_CARD,
    EngineCard,
    FileRecord,
    Precision,
    StageRecord,
    encode,
    installed_versions,
    read_model_card,
)
from pssdet.models.sample import sample_batches
from pssdet.models.stages import compare, first_broken, limits_of, tap_names


def engine_folder(model: Path, backend: Backend, precision: Precision) -> Path:
    """Where an engine goes unless another folder is asked for: inside the model's folder."""
    return model / f"{backend.name}-{precision}"


def build_engine(
    model: Path, backend: Backend, precision: Precision, output: Path, progress: Progress = lambda _: None
) -> EngineCard:
    """Build an engine of the model in folder ``model`` into ``output`` and prove it on a picture.

    Raises:
        BadInput: the model's files are missing or altered.
        EnvironmentMissing: this machine cannot build it.
        GateFailed: the engine is not what was asked for; nothing was written.
    """
    card = read_model_card(model)
    card.onnx.verify(model)
    started = perf_counter()
    with staged_folder(output) as stage:
        built = backend.build(model, card, precision, stage)
        progress("proving the engine against the exported model")
        engine = EngineCard(
            backend=backend.name,
            precision=precision,
            emulated=built.emulated,
            files=tuple(FileRecord.of(stage / name) for name in backend.files),
            fp32_nodes=built.fp32_nodes,
            versions=installed_versions(*backend.packages),
            machine=f"{platform.system()} {platform.machine()}",
            build_seconds=round(perf_counter() - started, 3),
            verification=(),
            model=card,
        )
        engine = msgspec.structs.replace(engine, verification=tuple(_prove(model, stage, backend, engine)))
        (stage / ENGINE_CARD).write_bytes(encode(engine))
    return engine


def _prove(model: Path, folder: Path, backend: Backend, engine: EngineCard) -> list[StageRecord]:
    """The engine's stages against those of the exported model; see ``stages.HALF`` for reduced precision.

    Raises:
        GateFailed: they differ beyond the limits of the precision.
    """
    card = engine.model
    taps = tap_names(card.architecture)
    name, inputs = next(sample_batches(card.preprocessing))
    with closing(OnnxRuntimeSession(model / card.onnx.name, taps, cuda=False)) as session:
        expected = session.run(inputs)
    with closing(backend.open(folder, engine, taps)) as session:
        obtained = session.run(inputs)
    records = compare(name, card.architecture, expected, obtained, limits_of(engine.precision))
    if broken := first_broken(records):
        raise GateFailed(
            f"the {engine.backend} engine in {engine.precision} differs from the exported model {broken};"
            " nothing was written"
        )
    return records
