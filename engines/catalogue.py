"""The backends by name, and engines opened from their folders."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pssdet.engines.protocol import Backend, Session
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.card import EngineCard, read_engine_card

#: In the order in which ``--backend auto`` prefers them.
_MODULES = {
    "tensorrt": "pssdet.engines.backends.tensorrt_gpu",
    "onnxruntime": "pssdet.engines.backends.onnx_runtime",
    "paddle": "pssdet.engines.backends.paddle_reference",
}


class OpenEngine(NamedTuple):
    """A loaded engine with the card that describes it."""

    card: EngineCard
    session: Session


def backend_named(name: str) -> Backend:
    """The backend of that name; its heavy packages are imported only when it is used.

    Raises:
        BadInput: no backend is called so.
    """
    if name not in _MODULES:
        raise BadInput(f"no backend is called {name!r}; choose from auto, {', '.join(_MODULES)}")
    backend: Backend = importlib.import_module(_MODULES[name]).BACKEND
    return backend


def choose_backend(name: str) -> Backend:
    """The backend of that name, or with ``auto`` the fastest that this machine can run.

    Raises:
        BadInput: no backend is called so.
        EnvironmentMissing: this machine cannot run it.
    """
    if name == "auto":
        candidates = [backend_named(each) for each in _MODULES]
        for backend in candidates:
            if backend.missing() is None:
                return backend
        raise EnvironmentMissing(f"no backend can run here: {candidates[1].missing()}")
    backend = backend_named(name)
    if (missing := backend.missing()) is not None:
        raise EnvironmentMissing(missing)
    return backend


def open_engine(folder: Path, taps: Sequence[str] = ()) -> OpenEngine:
    """Verify an engine's files and load them.

    Raises:
        BadInput: not an engine's folder, or a file differs from what its card says.
        EnvironmentMissing: this machine cannot run it.
    """
    card = read_engine_card(folder)
    backend = choose_backend(card.backend)
    for file in card.files:
        file.verify(folder)
    return OpenEngine(card, backend.open(folder, card, taps))
