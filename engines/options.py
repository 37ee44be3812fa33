"""Options of a build beside model, backend and precision: one class per backend."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar, get_type_hints

from pssdet.errors import BadInput

#: Metadata of an option that does not decide on the engine.
INDIFFERENT = {"indifferent": True}

OptionsT = TypeVar("OptionsT", bound="BuildOptions")


@dataclass(frozen=True)
class BuildOptions:
    """The options of a backend that has none; one that has some derives its class from this one.

    A field is written once: the command line takes its name, type and default, and the string below it as its help.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Types are resolved where their names are known: a class derived in another module has the fields too.
        hints = get_type_hints(cls, include_extras=True)
        cls.__annotations__ = {name: hints[name] for name in cls.__annotations__}

    def given(self) -> list[str]:
        """Names of the options that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    def recorded(self) -> dict[str, str]:
        """Values of the options given, by name: quoted for a shell and joined by spaces, empty for a switch."""
        values = ((name, getattr(self, name)) for name in self.given())
        return {name: shlex.join(map(str, _values_of(value))) for name, value in values}

    def deciding(self) -> dict[str, object]:
        """Values of those options given that decide on the engine, by name."""
        indifferent = {each.name for each in fields(self) if each.metadata.get("indifferent")}
        return {name: getattr(self, name) for name in self.given() if name not in indifferent}

    def narrowed(self, kind: type[OptionsT], backend: str) -> OptionsT:
        """The same options as those of one backend.

        Args:
            kind: the backend's class of options.
            backend: its name, for the message.

        Raises:
            BadInput: an option was given that it does not have.
        """
        offered = {each.name for each in fields(kind)}
        if foreign := [name for name in self.given() if name not in offered]:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
            raise BadInput(f"backend {backend} has no {options}; leave it out or choose another --backend")
        return kind(**{name: getattr(self, name) for name in self.given()})

    def check(self, precision: str) -> None:
        """Refuse options that do not suit the precision.

        Raises:
            BadInput: an option has no effect in this precision or an impossible value, or one is missing.
        """


@dataclass(frozen=True)
class PrecisionOptions(BuildOptions):
    """Options of a backend with reduced precision."""

    recipe: Path | None = None
    """JSON file: which nodes stay float32 in --fp16 or --int8 (default: the one that ships with the model)."""

    calibration: Path | None = None
    """Folder of pictures from which --int8 takes its ranges (default for a bundled detector: scenes)."""

    def check(self, precision: str) -> None:
        """Refuse a recipe or pictures without effect, and int8 without pictures; see ``BuildOptions``."""
        if self.recipe is not None and precision == "fp32":
            raise BadInput("--recipe says what stays float32 in --fp16 or --int8; give one of them, or no recipe")
        if self.calibration is not None and precision != "int8":
            raise BadInput("--calibration is for --int8; give both or neither")
        if precision == "int8":
            self.pictures()

    def pictures(self) -> Path:
        """The folder of pictures that int8 needs.

        Raises:
            BadInput: none was named.
        """
        if self.calibration is None:
            raise BadInput("--int8 takes ranges from pictures like those to come: --calibration DIR, a hundred or more")
        return self.calibration


def _values_of(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple):
        return value
    return () if value is True else (value,)


def command_line(recorded: Mapping[str, str]) -> list[str]:
    """Turn what was ``recorded`` into words of a command line."""
    words = []
    for name, text in recorded.items():
        option = f"--{name.replace('_', '-')}"
        words += [f"{option} {shlex.quote(value)}" for value in shlex.split(text)] or [option]
    return words


DEFAULTS = BuildOptions()
