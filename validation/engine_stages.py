"""Engines run on the same pictures, compared at every stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.catalogue import open_engine
from pssdet.errors import BadInput
from pssdet.models.card import EngineCard, StageRecord
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.stages import FLOAT32, HALF, compare
from pssdet.runtime.images import load


class EngineStages(NamedTuple):
    """One engine's agreement with the reference on every picture; ``name`` is its folder's."""

    name: str
    records: list[StageRecord]


def compare_engines(
    reference: Path, candidates: Sequence[Path], pictures: Sequence[Path], progress: Progress
) -> list[EngineStages]:
    """Run every engine on each picture alone and compare it with the reference engine.

    Args:
        reference: folder of the engine that is right by definition, Paddle's as a rule.
        candidates: folders of the engines to judge.
        pictures: files to run.
        progress: told of each engine before it runs.

    Raises:
        BadInput: an engine or a picture cannot be used, or an engine is of another model.
        EnvironmentMissing: this machine cannot run one of the engines.
    """
    expected_card, expected = _run(reference, pictures, progress)
    results = []
    for folder in candidates:
        card, obtained = _run(folder, pictures, progress)
        if card.model.onnx != expected_card.model.onnx:
            raise BadInput(f"{folder} and {reference} are engines of different models; compare engines of one model")
        limits = FLOAT32 if card.precision == "fp32" else HALF
        records: list[StageRecord] = []
        for picture in pictures:
            records += compare(picture.name, card.model.architecture, expected[picture], obtained[picture], limits)
        results.append(EngineStages(folder.name, records))
    return results


def _run(
    folder: Path, pictures: Sequence[Path], progress: Progress
) -> tuple[EngineCard, dict[Path, dict[str, NDArray[Any]]]]:
    progress(f"running {folder.name}")
    card, session = open_engine(folder, stages=True)
    steps = card.model.preprocessing
    try:
        return card, {p: session.run(as_batch([prepare(load(p), steps)])) for p in pictures}
    finally:
        session.close()
