"""What every backend offers: options, and building, opening and running an engine."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    get_args,
    get_type_hints,
    runtime_checkable,
)

from pssdet.errors import BadInput
from pssdet.machine import usable_cores, vector_instructions
from pssdet.models.card import EngineCard, Precision, installed_versions

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from pssdet.console import Progress
    from pssdet.plugins.bindings.preprocess import RawImages


#: Name of the CPU's vector instructions in an environment.
CPU = "CPU instructions"

#: Packages that make an engine or hold its arrays, but compute nothing of its results.
_ONLY_BUILDING = {"python", "pss-det", "onnx", "numpy"}

#: Metadata of an option that does not decide on the engine.
INDIFFERENT = {"indifferent": True}

OptionsT = TypeVar("OptionsT", bound="BuildOptions")


@dataclass(frozen=True)
class BuildOptions:
    """The options of a backend that has none; one that has some derives its class from this one.

    The command line takes a field's name, type and default, and the string below it as its help.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Resolved where their names are known: a class in another module inherits the fields.
        hints = get_type_hints(cls, include_extras=True)
        cls.__annotations__ = {name: hints[name] for name in cls.__annotations__}

    def given(self) -> list[str]:
        """Names of the options that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    def recorded(self) -> dict[str, str]:
        """Values of the options given, by name: as on a command line, empty for a switch."""
        values = ((name, getattr(self, name)) for name in self.given())
        return {name: shlex.join(map(str, _values_of(value))) for name, value in values}

    def deciding(self) -> dict[str, object]:
        """Values of those options given that decide on the engine, by name."""
        indifferent = {each.name for each in fields(self) if each.metadata.get("indifferent")}
        return {name: getattr(self, name) for name in self.given() if name not in indifferent}

    def narrowed(self, kind: type[OptionsT], backend: str) -> OptionsT:
        """The same options as those of one backend, whose class of options is ``kind``.

        Raises:
            BadInput: an option was given that it does not have.
        """
        offered = {each.name for each in fields(kind)}
        if foreign := [name for name in self.given() if name not in offered]:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
            raise BadInput(f"backend {backend} has no {options}; leave it out or choose another --backend")
        return kind(**{name: getattr(self, name) for name in self.given()})

    def check(self, precision: str) -> None:
        """Raise ``BadInput`` for an option that is impossible, missing, or without effect in this precision."""


@dataclass(frozen=True)
class PrecisionOptions(BuildOptions):
    """Options of a backend with reduced precision."""

    recipe: Path | None = None
    """JSON file: what stays float32 in --fp16, --bf16 or --int8 (default: the one shipped with the model)."""

    calibration: Path | None = None
    """Folder of pictures from which --int8 takes its ranges (default for a bundled detector: scenes)."""

    def check(self, precision: str) -> None:
        """Refuse a recipe or pictures without effect, and int8 without pictures."""
        if self.recipe is not None and precision == "fp32":
            raise BadInput(
                "--recipe says what stays float32 in --fp16, --bf16 or --int8; give one of them, or no recipe"
            )
        if self.calibration is not None and precision != "int8":
            raise BadInput("--calibration is for --int8; give both or neither")
        if precision == "int8":
            self.pictures()

    def pictures(self) -> Path:
        """The folder of pictures that int8 needs; raises ``BadInput`` if none was named."""
        if self.calibration is None:
            raise BadInput(
                "--int8 takes ranges from pictures like those to come: --calibration DIR, a hundred or more"
            )
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

_MOST_STREAMS = 4

_Hint: TypeAlias = Literal["latency", "throughput"]


@dataclass(frozen=True)
class Threading:
    """How a session on a CPU uses the cores; what is 0 is left to the backend.

    Attributes:
        threads: of all streams together.
        streams: batches that are computed at once, each by its share of the threads.
        hint: what counts where the streams are left to the backend: the time of one batch, or of many.
    """

    threads: int = 0
    streams: int = 0
    hint: _Hint = "latency"

    def chosen_streams(self) -> int:
        """The streams, of which throughput takes one for each thread, up to four.

        Streams need not wait for one another, but each has memory of its own for intermediate results.
        """
        most = 1 if self.hint == "latency" else min(self.threads or usable_cores(), _MOST_STREAMS)
        return self.streams or most

    def check(self, offered: Collection[str], backend: str) -> None:
        """Raise ``BadInput`` for what is impossible, or what the backend does not take."""
        if self.hint not in get_args(_Hint):
            raise BadInput(f"no hint is called {self.hint!r}; choose from {', '.join(get_args(_Hint))}")
        for name, value in (("threads", self.threads), ("streams", self.streams)):
            if type(value) is not int or value < 0:
                raise BadInput(f"{value!r} {name} are impossible; choose 1 or more")
            if value and name not in offered:
                raise BadInput(f"backend {backend} has no --{name}; leave it out or take another engine")
        threads = self.threads or usable_cores()
        if self.streams > threads:
            whose = f"--threads {threads}" if self.threads else f"the {threads} cores here"
            raise BadInput(
                f"each stream needs a thread: --streams {self.streams} are too many for {whose};"
                f" choose {threads} or fewer, or more --threads"
            )


AUTOMATIC = Threading()


#: Inputs or outputs of one batch, by name.
Tensors: TypeAlias = "dict[str, NDArray[Any]]"


class Session(Protocol):
    """An engine ready to run; not safe for use by several threads at once."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch through the engine: inputs and outputs as the model card names them."""
        ...

    def close(self) -> None:
        """Free what the session holds; it cannot run afterwards."""
        ...


@runtime_checkable
class Pipelined(Session, Protocol):
    """A session that threads may share.

    Attributes:
        depth: batches that may be on their way at once.
        batch: pictures of a batch that it computes faster together than one after another.
    """

    depth: int
    batch: int

    def submit(self, inputs: Mapping[str, NDArray[np.float32]]) -> Any:
        """Start a batch, as ``run`` would; gives what ``collect`` asks for."""
        ...

    def collect(self, request: Any) -> Tensors:
        """The outputs of a batch that was submitted, once."""
        ...


@runtime_checkable
class PreprocessingSession(Session, Protocol):
    """A session that takes ``RawImages`` as its input ``image`` if ``takes_raw_images`` says so."""

    takes_raw_images: bool

    def preprocess(self, images: RawImages, *, fetch: bool = True) -> NDArray[np.float32] | None:
        """The input that it would make of them, float32 [N, 3, H, W]; None without ``fetch``."""
        ...


class Backend(ABC, Generic[OptionsT]):
    """A way to run a model: Paddle, ONNX Runtime, TensorRT.

    Attributes:
        files: names of the files that an engine consists of, beside its card.
        evidence: names of files that a build writes besides; they are kept if it fails, and only then.
        packages: Python packages whose versions an engine's card records.
        threading: names of the fields of ``Threading`` that its sessions take.
        taps_any: any engine can return its stages; else only one that was built to.
        tunes: precisions for which ``open_trial`` opens engines.
    """

    name: str
    precisions: tuple[Precision, ...] = ("fp32",)
    files: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    options: type[OptionsT]
    taps_any: bool = True
    threading: frozenset[str] = frozenset()
    tunes: tuple[Precision, ...] = ()

    @abstractmethod
    def missing(self) -> str | None:
        """What this machine lacks to build or run an engine, and how to get it; None if nothing."""

    def missing_for(self, precision: Precision) -> str | None:
        """What this machine lacks to build or run an engine of a precision."""
        del precision
        return self.missing()

    def missing_to_open(self, card: EngineCard) -> str | None:
        """What this machine lacks to run this engine, which may need less than to build one."""
        del card
        return self.missing()

    def identity(self) -> Mapping[str, str] | None:
        """What of this machine decides on an engine; None: builds are too quick to be cached.

        Asked only where ``missing`` gives None.
        """
        return None

    def environment(self, card: EngineCard) -> dict[str, str]:
        """What of this machine computes an engine's results, by name: once it differs, they are tested anew.

        By default the versions of the packages that run it, and the CPU's vector instructions.
        """
        del card
        versions = installed_versions(*self.packages)
        running = {name: version for name, version in versions.items() if name not in _ONLY_BUILDING}
        return running | {CPU: " ".join(vector_instructions())}

    def accept(self, options: BuildOptions, precision: Precision) -> OptionsT:
        """The options as those of this backend.

        Raises:
            BadInput: it does not have one of them, or they do not suit the precision.
        """
        accepted = options.narrowed(self.options, self.name)
        accepted.check(precision)
        return accepted

    @abstractmethod
    def build(
        self, model: Path, draft: EngineCard, folder: Path, options: OptionsT, progress: Progress
    ) -> EngineCard:
        """Write the engine's files into the empty ``folder``.

        Args:
            model: the exported model's folder; its files were already verified.
            draft: the engine's card so far, with the precision and the model's card.
            options: as ``accept`` gave them.

        Returns:
            The draft with what the backend records of the build.
        """

    @abstractmethod
    def open(
        self, folder: Path, card: EngineCard, taps: Sequence[str] = (), threading: Threading = AUTOMATIC
    ) -> Session:
        """Load an engine whose files were already verified.

        Args:
            taps: stages to return beside the outputs, by name (``p2``, ``proposals``, ...).
            threading: with numbers only where this backend's ``threading`` names them.
        """

    def open_trial(self, exported: onnx.ModelProto, float32: Collection[str], folder: Path) -> Session:
        """Open an engine that rounds what trunk and head compute, without proofs.

        Args:
            exported: the float32 model; left as it is.
            float32: names of the nodes of trunk and head that are not rounded.
            folder: empty, for the engine's files; deleted after the session was closed.
        """
        raise NotImplementedError(self.name)
