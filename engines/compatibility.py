"""Whether an engine built on one machine runs on another, and if not, why."""

from __future__ import annotations

from pathlib import Path

from pssdet.engines.backend import command_line
from pssdet.engines.devices import Gpu
from pssdet.errors import BadInput
from pssdet.models.card import EngineCard, FileRecord
from pssdet.plugins.bindings.tensorrt_headers import numbers_of

#: The first architecture that engines for "ampere_plus" run on.
_AMPERE = (8, 0)


def check_compatible(folder: Path, card: EngineCard, device: Gpu, version: str, library: Path | None) -> None:
    """Refuse, before TensorRT reads it, an engine that cannot run here.

    Args:
        version: of TensorRT here.
        library: the plugin library here; None if the engine carries its own.

    Raises:
        BadInput: GPU, TensorRT or plugin library are not those of the build.
    """
    again = f"rebuild with {_rebuild(card)}"
    if card.gpu is None or "tensorrt" not in card.versions:
        raise BadInput(f"the card in {folder} does not say where the engine was built; {again}")
    built_on, built_with = card.gpu.capability, card.versions["tensorrt"]
    if not (_gpu_compatible(card, device) and _version_compatible(card, built_with, version)):
        raise BadInput(
            f"the engine in {folder} was built for {_sm(built_on)} / TensorRT {built_with},"
            f" this is {_sm(device.capability)} / {version}: {again}"
        )
    if (
        library is not None
        and card.plugins is not None
        and FileRecord.of(library).sha256 != card.plugins.sha256
    ):
        raise BadInput(
            f"the engine in {folder} was built with another {card.plugins.name} than {library}"
            f" (sha256 differs): name the one of the build in PSSDET_PLUGINS, or {again}"
        )


def _gpu_compatible(card: EngineCard, device: Gpu) -> bool:
    assert card.gpu is not None  # noqa: S101  (the caller has looked)
    if card.options.get("hardware_compatible") == "ampere_plus":
        return device.capability >= _AMPERE
    # On another GPU of this capability it may be slower than where its kernels were chosen.
    return device.capability == card.gpu.capability


def _version_compatible(card: EngineCard, built: str, here: str) -> bool:
    ours, theirs = numbers_of(built), numbers_of(here)
    if "version_compatible" in card.options:
        return ours[0] == theirs[0] and theirs >= ours
    return ours == theirs


def _sm(capability: tuple[int, int]) -> str:
    return f"sm_{capability[0]}{capability[1]}"


def _rebuild(card: EngineCard) -> str:
    words = ["python engines/build.py", f"--model {card.model.model}", f"--backend {card.backend}"]
    if card.precision != "fp32":
        words.append(f"--{card.precision}")
    return " ".join([*words, *command_line(card.options)])
