"""One build: a verified model becomes an engine's folder with its card, or nothing."""

from __future__ import annotations

import platform
from pathlib import Path
from time import perf_counter

from pssdet.engines.protocol import Backend
from pssdet.files import staged_folder
from pssdet.models.card import (
    ENGINE_CARD,
    EngineCard,
    FileRecord,
    Precision,
    encode,
    installed_versions,
    read_model_card,
)


def engine_folder(model: Path, backend: Backend, precision: Precision) -> Path:
    """Where an engine goes unless another folder is asked for: inside the model's folder."""
    return model / f"{backend.name}-{precision}"


def build_engine(model: Path, backend: Backend, precision: Precision, output: Path) -> EngineCard:
    """Build an engine of the model in folder ``model`` into ``output``.

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
        engine = EngineCard(
            backend=backend.name,
            precision=precision,
            emulated=built.emulated,
            files=tuple(FileRecord.of(stage / name) for name in built.files),
            fp32_nodes=built.fp32_nodes,
            versions=installed_versions(*backend.packages),
            machine=f"{platform.system()} {platform.machine()}",
            build_seconds=round(perf_counter() - started, 3),
            model=card,
        )
        (stage / ENGINE_CARD).write_bytes(encode(engine))
    return engine
