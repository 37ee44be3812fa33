"""Builds an engine from a verified model: a folder with its card, or nothing."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.backend import DEFAULTS, Backend, BuildOptions
from pssdet.engines.cache import build_key, cached, is_engine_of
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession, missing_onnx_runtime
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.files import engine_cache, staged_folder
from pssdet.models.card import (
    ENGINE_CARD,
    EngineCard,
    FileRecord,
    Precision,
    StageRecord,
    encode,
    installed_versions,
    read_engine_card,
    read_model_card,
)
from pssdet.models.preprocess import sample_batches, sample_of_shape
from pssdet.models.stages import LIMITS, compare, compare_detections, first_broken, tap_names


def engine_folder(model: Path, backend: Backend[Any], precision: Precision, *, stages: bool = False) -> Path:
    """Default folder of an engine, inside the model's folder."""
    return model / f"{backend.name}-{precision}{'-stages' if stages else ''}"


def build_engine(
    model: Path,
    backend: Backend[Any],
    precision: Precision,
    output: Path,
    progress: Progress = lambda _: None,
    options: BuildOptions = DEFAULTS,
    reason: str = "",
) -> EngineCard:
    """Build an engine of the model in folder ``model`` into ``output`` and prove it on a picture.

    Engines whose builds take long are cached, and taken from there when nothing that decides differs.

    Args:
        reason: why this backend was chosen, for the card.

    Raises:
        BadInput: the model's files are missing or altered, or the backend lacks an option.
        EnvironmentMissing: this machine cannot build it.
        GateFailed: the engine is not what was asked for; nothing was written.
    """
    options = backend.accept(options, precision)
    if lacking := missing_onnx_runtime():
        raise EnvironmentMissing(
            f"an engine is proved against the exported model in ONNX Runtime, but {lacking}"
        )
    card = read_model_card(model)
    card.onnx.verify(model)
    identity = backend.identity()
    key = "" if identity is None else build_key(card, backend, precision, options, identity)

    draft = EngineCard(
        backend=backend.name,
        precision=precision,
        emulated=False,
        files=(),
        fp32_nodes=0,
        versions=installed_versions(*backend.packages),
        machine=f"{platform.system()} {platform.machine()}",
        build_seconds=0,
        verification=(),
        model=card,
        options=options.recorded(),
        key=key,
        reason=reason,
    )

    def build(folder: Path) -> None:
        _build_and_prove(model, draft, backend, folder, options, progress)

    if not key:
        with staged_folder(output) as stage:
            build(stage)
    elif is_engine_of(key, output):
        progress("the engine is there already, of the same inputs; nothing is built")
    elif cached(engine_cache(), key, output, build, progress):
        progress("the engine was in the cache, of the same inputs; nothing was built")
    return read_engine_card(output)


def _build_and_prove(
    model: Path,
    draft: EngineCard,
    backend: Backend[Any],
    folder: Path,
    options: BuildOptions,
    progress: Progress,
) -> None:
    started = perf_counter()
    built = backend.build(model, draft, folder, options, progress)
    seconds = round(perf_counter() - started, 3)
    files = tuple(FileRecord.of(folder / name) for name in backend.files)
    engine = replace(built, files=files, build_seconds=seconds)
    progress("proving the engine against the exported model")
    engine = replace(engine, verification=tuple(_prove(model, folder, backend, engine)))
    (folder / ENGINE_CARD).write_bytes(encode(engine))


def _prove(model: Path, folder: Path, backend: Backend[Any], engine: EngineCard) -> list[StageRecord]:
    """Compare the engine with the exported model: by stages if it returns them, else by detections."""
    card = engine.model
    tapped = backend.taps_any or engine.tapped
    taps = tap_names(card.architecture) if tapped else ()
    records = []
    with (
        closing(OnnxRuntimeSession(model / card.onnx.name, taps, cuda=False)) as original,
        closing(backend.open(folder, engine, taps)) as session,
    ):
        for name, inputs in _proof_inputs(engine):
            expected, obtained = original.run(inputs), session.run(inputs)
            limits = LIMITS[engine.precision]
            if tapped:
                records += compare(name, card.architecture, expected, obtained, limits)
            else:
                records += compare_detections(name, expected, obtained, limits)
    if broken := first_broken(records):
        raise GateFailed(
            f"the {engine.backend} engine in {engine.precision} differs from the exported model {broken};"
            " nothing was written"
        )
    return records


def _proof_inputs(engine: EngineCard) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    steps = engine.model.preprocessing
    if not engine.profiles:
        yield next(sample_batches(steps))
    for profile in engine.profiles:
        yield f"picture, {'x'.join(map(str, profile.opt))}", sample_of_shape(steps, *profile.opt)
