"""The backends by name, and engines opened from their folders."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from pssdet.engines.backend import AUTOMATIC, Backend, Session, Threading
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.card import ENGINE_CARD, EngineCard, Precision, read_engine_card
from pssdet.models.stages import tap_names

#: In the order in which ``--backend auto`` prefers them.
_MODULES = {
    "tensorrt": "pssdet.engines.backends.tensorrt_gpu",
    "openvino": "pssdet.engines.backends.openvino_cpu",
    "onnxruntime": "pssdet.engines.backends.onnx_runtime",
    "paddle": "pssdet.engines.backends.paddle_reference",
}


class OpenEngine(NamedTuple):
    """A loaded engine with the card that describes it."""

    card: EngineCard
    session: Session


def backend_named(name: str) -> Backend[Any]:
    """The backend of that name; its heavy packages are imported only when it is used.

    Raises:
        BadInput: no backend is called so.
    """
    if name not in _MODULES:
        raise BadInput(f"no backend is called {name!r}; choose from auto, {', '.join(_MODULES)}")
    backend: Backend[Any] = importlib.import_module(_MODULES[name]).BACKEND
    return backend


def choose_backend(name: str, precision: Precision) -> Backend[Any]:
    """The backend of that name, or with ``auto`` the first that this machine can run, in a fixed order.

    Raises:
        BadInput: no backend is called so, or it does not offer the precision.
        EnvironmentMissing: this machine cannot run it.
    """
    if name == "auto":
        if found := candidates(precision):
            return found[0]
        missing = (str(each.missing_for(precision)) for each in _offering(precision))
        raise EnvironmentMissing(f"no backend can run {precision} here: {'; or: '.join(missing)}")
    backend = offered_backend(name, precision)
    if (lacking := backend.missing_for(precision)) is not None:
        raise EnvironmentMissing(lacking)
    return backend


def offered_backend(name: str, precision: Precision) -> Backend[Any]:
    """The backend of that name, which offers the precision, whether this machine can run it or not.

    Raises:
        BadInput: no backend is called so, or it does not offer the precision.
    """
    backend = backend_named(name)
    if precision not in backend.precisions:
        others = " and ".join(each.name for each in _offering(precision))
        raise BadInput(
            f"backend {name} does not offer {precision}; it offers {', '.join(backend.precisions)}."
            f" {precision} is offered by {others}: name one with --backend"
        )
    return backend


def candidates(precision: Precision) -> list[Backend[Any]]:
    """The backends that run a precision on this machine, in the order in which ``auto`` prefers them."""
    return [each for each in _offering(precision) if each.missing_for(precision) is None]


def why_automatic(backend: Backend[Any], precision: Precision) -> str:
    """Why ``--backend auto`` takes this backend here: what the ones before it in the order lack."""
    order = [each.name for each in _offering(precision)]
    before = (backend_named(name) for name in order[: order.index(backend.name)])
    passed = "".join(f"; not {each.name}: {each.missing_for(precision)}" for each in before)
    return f"the first of {', '.join(order)} that runs {precision} here{passed}"


def _offering(precision: Precision) -> list[Backend[Any]]:
    return [each for name in _MODULES if precision in (each := backend_named(name)).precisions]


def require_to_open(card: EngineCard, folder: Path) -> None:
    """Refuse the engine in a folder if this machine cannot run it; its files are not read.

    Raises:
        BadInput: no backend is called so.
        EnvironmentMissing: something outside is missing.
    """
    if (missing := _backend_of(card, folder).missing_to_open(card)) is not None:
        raise EnvironmentMissing(missing)


def _backend_of(card: EngineCard, folder: Path) -> Backend[Any]:
    if card.backend not in _MODULES:
        raise BadInput(
            f"{folder / ENGINE_CARD} names a backend {card.backend!r}, but there are {', '.join(_MODULES)};"
            " build the engine again"
        )
    return backend_named(card.backend)


def open_engine(folder: Path, *, stages: bool = False, threading: Threading = AUTOMATIC) -> OpenEngine:
    """Verify an engine's files and load them.

    Args:
        stages: runs also return every intermediate tensor of ``stages.tap_names``.

    Raises:
        BadInput: not an engine's folder, or a file differs from what its card says.
        EnvironmentMissing: this machine cannot run it.
    """
    if not isinstance(threading, Threading):
        raise BadInput(f"{threading!r} is no Threading; write Threading(threads=2), for example")
    card = read_engine_card(folder)
    backend = _backend_of(card, folder)
    threading.check(backend.threading, backend.name)
    if {file.name for file in card.files} != set(backend.files):
        raise BadInput(f"the card in {folder} does not name the files of such an engine; build it again")
    for file in card.beside:
        file.verify(folder)
    require_to_open(card, folder)
    taps = tap_names(card.model.architecture) if stages else ()
    return OpenEngine(card, backend.open(folder, card, taps, threading))
