"""Builds an engine from a verified model: a folder with its card, or nothing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from pssdet.engines.backend import DEFAULTS, Backend, BuildOptions, Tensors
from pssdet.engines.cache import build_key, cached, is_engine_of
from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession, missing_onnx_runtime
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
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
from pssdet.models.probe import PROBE, Probe, read_probe, write_probe
from pssdet.models.stages import LIMITS, compare, compare_detections, first_broken, tap_names

if TYPE_CHECKING:
    from pssdet.console import Progress

#: Beside an engine: what a failed build of it left.
FAILED = "failed"


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

    It is compared with the exported model in ONNX Runtime and with the export's probe; where there is no ONNX
    Runtime, with the probe alone. The cases of the card's verification say which proofs it was given.
    Engines whose builds take long are cached, and taken from there when nothing that decides differs.

    Args:
        reason: why this backend was chosen, for the card.

    Raises:
        BadInput: the model's files are missing or altered, or the backend lacks an option.
        EnvironmentMissing: this machine cannot build it.
        GateFailed: the engine is not what was asked for; none was written. What the backend can show for it is
            kept in ``failed`` beside ``output``, as the message says.
    """
    options = backend.accept(options, precision)
    card = read_model_card(model)
    card.onnx.verify(model)
    probe = None if card.probe is None else read_probe(model, card.probe)
    if probe is None and (lacking := missing_onnx_runtime()):
        raise EnvironmentMissing(
            f"an engine is proved against the exported model in ONNX Runtime, but {lacking};"
            " or export the model again: exports of this version bring a probe, which needs no ONNX Runtime"
        )
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
        try:
            _build_and_prove(model, draft, probe, backend, folder, options, progress)
        except GateFailed as error:
            raise GateFailed(f"{error}{_keep_evidence(folder, backend, output)}") from error

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
    probe: Probe | None,
    backend: Backend[Any],
    folder: Path,
    options: BuildOptions,
    progress: Progress,
) -> None:
    started = perf_counter()
    built = backend.build(model, draft, folder, options, progress)
    seconds = round(perf_counter() - started, 3)
    files = tuple(FileRecord.of(folder / name) for name in backend.files)
    engine = replace(built, files=files, build_seconds=seconds, environment=backend.environment(built))
    records = []
    if not missing_onnx_runtime():
        progress("proving the engine against the exported model")
        records = _prove(model, folder, backend, engine)
    if probe is not None:
        progress("running the probe")
        engine, proofs = _run_probe(folder, backend, engine, probe, only_proof=not records)
        records += proofs
    (folder / ENGINE_CARD).write_bytes(encode(replace(engine, verification=tuple(records))))
    for name in backend.evidence:
        (folder / name).unlink(missing_ok=True)


def _keep_evidence(folder: Path, backend: Backend[Any], output: Path) -> str:
    """Copy what a failed build wrote to ``failed`` beside the engine; says where, for the error's message."""
    written = [name for name in (*backend.files, *backend.evidence) if (folder / name).is_file()]
    if not backend.evidence or not written:
        return ""
    target = output.absolute().parent / FAILED / output.name
    shutil.rmtree(target, ignore_errors=True)  # of an earlier build
    with staged_folder(target) as stage:
        for name in written:
            shutil.copyfile(folder / name, stage / name)
    listed = ", ".join(written)
    return f"; {listed} of the failed build: see {target}"


def _prove(model: Path, folder: Path, backend: Backend[Any], engine: EngineCard) -> list[StageRecord]:
    """Compare the engine with the exported model: by its stages, if it returns them, and by its detections.

    These also as users open it: without stages, where a runtime fuses other layers.
    """
    card = engine.model
    taps = _taps(backend, engine)
    limits = LIMITS[engine.precision]
    records = []
    as_used = []
    with (
        closing(OnnxRuntimeSession(model / card.onnx.name, taps, cuda=False)) as original,
        closing(backend.open(folder, engine, taps)) as session,
    ):
        for name, inputs in _proof_inputs(engine):
            expected, obtained = original.run(inputs), session.run(inputs)
            if taps:
                records += compare(name, card.architecture, expected, obtained, limits)
                outputs = {record.name: expected[record.name] for record in card.outputs}
                as_used.append((f"{name}, as used", inputs, outputs))
            else:
                records += compare_detections(name, expected, obtained, limits)
    if as_used:
        with closing(backend.open(folder, engine)) as session:
            for name, inputs, outputs in as_used:
                records += compare_detections(name, outputs, session.run(inputs), limits)
    _require_agreement(engine, records)
    return records


def _run_probe(
    folder: Path, backend: Backend[Any], engine: EngineCard, probe: Probe, *, only_proof: bool
) -> tuple[EngineCard, list[StageRecord]]:
    """Write what the engine gives for the export's probe, and compare it with what Paddle gave.

    Its outputs come from the engine as users run it; returning stages may keep a runtime from fusing layers. An
    only proof also compares the stages. Besides another proof, detections are compared in float32 alone: the
    limits of other precisions were measured on the bundled picture, and near-ties may go beyond them elsewhere.

    Raises:
        BadInput: this is the only proof, but no profile takes the probe.
        GateFailed: the engine differs from Paddle.
    """
    try:
        inputs = probe.inputs(engine.model.preprocessing, engine.profiles)
    except BadInput:
        if only_proof:
            raise
        return engine, []
    taps = _taps(backend, engine)
    answers: Tensors = {}
    if taps:
        with closing(backend.open(folder, engine, taps)) as session:
            answers = session.run(inputs)
    with closing(backend.open(folder, engine)) as session:
        outputs = session.run(inputs)
    answers |= outputs
    records = []
    if only_proof or engine.precision == "fp32":
        obtained = answers if only_proof else outputs
        records = probe.compare(engine.model.architecture, obtained, LIMITS[engine.precision])
        _require_agreement(engine, records)
    write_probe(folder / PROBE, probe.answered(answers))
    return replace(engine, probe=FileRecord.of(folder / PROBE)), records


def _taps(backend: Backend[Any], engine: EngineCard) -> tuple[str, ...]:
    """The stages that the engine can return: all or none."""
    return tap_names(engine.model.architecture) if backend.taps_any or engine.tapped else ()


def _require_agreement(engine: EngineCard, records: list[StageRecord]) -> None:
    if broken := first_broken(records):
        raise GateFailed(
            f"the {engine.backend} engine in {engine.precision} differs from the exported model {broken};"
            " no engine was written"
        )


def _proof_inputs(engine: EngineCard) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    steps = engine.model.preprocessing
    if not engine.profiles:
        yield next(sample_batches(steps))
    for profile in engine.profiles:
        yield f"picture, {'x'.join(map(str, profile.opt))}", sample_of_shape(steps, *profile.opt)
