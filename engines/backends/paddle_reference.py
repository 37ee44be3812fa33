"""Paddle itself: the reference at the head of the parity chain."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.backend import AUTOMATIC, Backend, BuildOptions, Session, Tensors, Threading
from pssdet.files import read_arrays
from pssdet.models.card import EngineCard, ModelCard

_PARAMETERS = "parameters.npz"


class _PaddleSession:
    """The detector of ``models/``, run eagerly in float32."""

    def __init__(self, parameters: Path, card: ModelCard, taps: Sequence[str]) -> None:
        from pssdet.models.network.detector import TwoStageDetector
        from pssdet.models.network.reference_run import parameter_shapes, with_parameters

        model = TwoStageDetector(card.architecture, card.numerics)
        self._model = with_parameters(model, read_arrays(parameters, parameter_shapes(model)))
        self._names = [*(record.name for record in card.outputs), *taps]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        from pssdet.models.network.reference_run import run_reference

        tensors = run_reference(self._model, inputs)
        return {name: tensors[name] for name in self._names}

    def close(self) -> None:
        del self._model


class _PaddleBackend(Backend[BuildOptions]):
    """Stores the checkpoint's parameters as plain arrays."""

    name = "paddle"
    files = (_PARAMETERS,)
    packages = ("paddlepaddle", "paddlepaddle-gpu", "numpy")
    options = BuildOptions

    def missing(self) -> str | None:
        if importlib.util.find_spec("paddle") is None:
            return "Paddle is not installed; pip install paddlepaddle==3.2.2"
        return None

    def build(
        self, model: Path, draft: EngineCard, folder: Path, options: BuildOptions, progress: Progress
    ) -> EngineCard:
        """Read the checkpoint that the card names once more, and verify it."""
        del model, options, progress
        from pssdet.models.network.detector import TwoStageDetector
        from pssdet.models.network.reference_run import parameter_shapes
        from pssdet.models.parameters import reload_parameters

        card = draft.model
        shapes = parameter_shapes(TwoStageDetector(card.architecture, card.numerics))
        parameters: dict[str, Any] = dict(reload_parameters(card.weights, shapes))
        np.savez(folder / _PARAMETERS, **parameters)
        return draft

    def open(
        self, folder: Path, card: EngineCard, taps: Sequence[str] = (), threading: Threading = AUTOMATIC
    ) -> Session:
        del threading
        return _PaddleSession(folder / _PARAMETERS, card.model, taps)


BACKEND = _PaddleBackend()
