"""Engines run on the same pictures, compared at every stage."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from pssdet.console import Progress
from pssdet.engines.registry import OpenEngine, open_engine
from pssdet.errors import BadInput
from pssdet.images import load
from pssdet.models.card import StageRecord
from pssdet.models.preprocess import as_batch, prepare
from pssdet.models.stages import LIMITS, compare


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
        progress: called before each engine runs.

    Raises:
        BadInput: an engine or a picture cannot be used, or an engine is of another model.
        EnvironmentMissing: this machine cannot run one of the engines.
    """
    with ExitStack() as stack:
        expected_card, expected = _open(reference, stack, progress)
        opened = [_open(folder, stack, progress) for folder in candidates]
        results = [EngineStages(folder.name, []) for folder in candidates]
        for folder, (card, _) in zip(candidates, opened, strict=True):
            if card.model.onnx != expected_card.model.onnx:
                raise BadInput(f"{folder} and {reference} are engines of different models; compare engines of one")
        for picture in pictures:
            progress(f"comparing on {picture}")
            inputs = as_batch([prepare(load(picture), expected_card.model.preprocessing)])
            tensors = expected.run(inputs)
            for result, (card, session) in zip(results, opened, strict=True):
                arch = card.model.architecture
                result.records.extend(compare(str(picture), arch, tensors, session.run(inputs), LIMITS[card.precision]))
        return results


def _open(folder: Path, stack: ExitStack, progress: Progress) -> OpenEngine:
    progress(f"opening {folder.name}")
    engine = open_engine(folder, stages=True)
    stack.callback(engine.session.close)
    return engine


def first_difference(
    reference: Path, candidate: Path, pictures: Sequence[Path], progress: Progress = lambda _: None
) -> str:
    """The first stage at which the candidate is beyond its limits on any picture; empty if none.

    Raises:
        BadInput: an engine or a picture cannot be used, or the engines are of different models.
    """
    (result,) = compare_engines(reference, [candidate], pictures, progress)
    return next((record.stage for record in result.records if not record.passed), "")
