"""What a build can be told beside model, backend and precision."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pssdet.errors import BadInput

HardwareCompatible = Literal["ampere_plus", "same_compute_capability"]


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build; a backend refuses those that it does not have.

    Attributes:
        recipe: file that says which nodes stay float32; None: the one that ships with the model.
        calibration: folder of pictures from which int8 takes its ranges.
        min_shapes: smallest inputs of each optimisation profile, ``NxHxW``.
        opt_shapes: typical ones; empty: the model's test size.
        max_shapes: largest ones.
        workspace: limit of the builder's scratch memory, MiB; None: no limit of ours.
        timing_cache: file of measured kernels; None: one in the cache folder.
        stages: the engine also returns every intermediate tensor of the stage-by-stage comparison.
        strongly_typed: the graph says every type, the builder chooses none.
        version_compatible: the engine also runs in later minor versions.
        hardware_compatible: the engine also runs on other GPUs; None: on this architecture only.
        plugins_in_plan: the engine carries the plugin library.
    """

    recipe: Path | None = None
    calibration: Path | None = None
    min_shapes: tuple[str, ...] = ()
    opt_shapes: tuple[str, ...] = ()
    max_shapes: tuple[str, ...] = ()
    workspace: int | None = None
    timing_cache: Path | None = None
    stages: bool = False
    strongly_typed: bool = False
    version_compatible: bool = False
    hardware_compatible: HardwareCompatible | None = None
    plugins_in_plan: bool = False

    def given(self) -> list[str]:
        """Names of the options that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    def recorded(self) -> dict[str, str]:
        """The options given, by name: their values as a shell would have them, side by side, none of a switch."""
        values = ((name, getattr(self, name)) for name in self.given())
        return {name: shlex.join(map(str, _values_of(value))) for name, value in values}

    def require(self, backend: str, offered: Collection[str], precision: str) -> None:
        """Refuse what a backend does not have, and what a precision does not need or lacks.

        Raises:
            BadInput: an option was given that is not among those offered, says nothing in this precision or is no
                possible value, or int8 has nothing to take its ranges from.
        """
        if foreign := [name for name in self.given() if name not in offered]:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
            raise BadInput(f"backend {backend} has no {options}; leave it out or choose another --backend")
        if self.workspace is not None and self.workspace < 1:
            raise BadInput(f"--workspace is in MiB, 1 or more, not {self.workspace}")
        if self.recipe is not None and precision == "fp32":
            raise BadInput("--recipe says what stays float32 in --fp16 or --int8; give one of them, or no recipe")
        if self.calibration is not None and precision != "int8":
            raise BadInput("--calibration is for --int8; give both or neither")
        if self.calibration is None and precision == "int8":
            raise BadInput("--int8 takes ranges from pictures like those to come: --calibration DIR, a hundred or more")


def _values_of(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple):
        return value
    return () if value is True else (value,)


def command_line(recorded: Mapping[str, str]) -> list[str]:
    """What was ``recorded``, as words of a command line."""
    words = []
    for name, text in recorded.items():
        option = f"--{name.replace('_', '-')}"
        words += [f"{option} {shlex.quote(value)}" for value in shlex.split(text)] or [option]
    return words


DEFAULTS = BuildOptions()
