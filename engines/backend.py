"""What every backend offers: build an engine from a model, open it, run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, runtime_checkable

from pssdet.console import Progress
from pssdet.engines.options import BuildOptions, OptionsT
from pssdet.models.card import (
    CalibrationRecord,
    EngineCard,
    FileRecord,
    GpuRecord,
    LayersRecord,
    ModelCard,
    Precision,
    ProfileRecord,
    RecipeRecord,
)

if TYPE_CHECKING:  # NumPy is not needed to show which options a backend has
    import numpy as np
    from numpy.typing import NDArray

    from pssdet.engines.raw_images import RawImages

#: Inputs or outputs of one batch, by name.
Tensors: TypeAlias = "dict[str, NDArray[Any]]"


class BuildResult(NamedTuple):
    """What a backend records of its build; the fields are those of ``EngineCard``.

    Attributes:
        emulated: the precision's rounding is emulated, the speed is not that precision's.
        fp32_nodes: nodes of a reduced-precision graph that stay in float32.
        versions: of what is not a Python package, or not under its own name.
        tapped: the engine returns every stage, whether asked when it is opened or not.
    """

    emulated: bool = False
    fp32_nodes: int = 0
    versions: Mapping[str, str] = {}
    gpu: GpuRecord | None = None
    plugins: FileRecord | None = None
    recipe: RecipeRecord | None = None
    profiles: tuple[ProfileRecord, ...] = ()
    layers: LayersRecord | None = None
    calibration: CalibrationRecord | None = None
    tapped: bool = False


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
    """A session that threads may share, and whose batches overlap: submitted first, collected later.

    Attributes:
        depth: batches on their way at once; the oldest is waited for when one more is submitted.
    """

    depth: int

    def submit(self, inputs: Mapping[str, NDArray[np.float32]]) -> Any:
        """Start a batch, as ``run`` would; gives what ``collect`` asks for."""
        ...

    def collect(self, request: Any) -> Tensors:
        """The outputs of a batch that was submitted, once."""
        ...


@runtime_checkable
class PreprocessingSession(Session, Protocol):
    """A session that may be able to make its input ``image`` of raw images by itself.

    Attributes:
        takes_raw_images: it is able to, and ``RawImages`` may be given as an input.
    """

    takes_raw_images: bool

    def preprocess(self, images: RawImages, *, fetch: bool = True) -> NDArray[np.float32] | None:
        """The input that it would make of them, float32 [N, 3, H, W]; None without ``fetch``."""
        ...


class Backend(ABC, Generic[OptionsT]):
    """A way to run a model: Paddle, ONNX Runtime, TensorRT.

    Attributes:
        files: names of the files that an engine consists of, beside its card.
        packages: Python packages whose versions an engine's card records.
        options: the class of its build options.
        taps_any: any engine can return its stages; else only one that was built to.
    """

    name: str
    precisions: tuple[Precision, ...] = ("fp32",)
    files: tuple[str, ...]
    packages: tuple[str, ...] = ()
    options: type[OptionsT]
    taps_any: bool = True

    @abstractmethod
    def missing(self) -> str | None:
        """What this machine lacks to build or run such an engine, with the way out; None if nothing."""

    def missing_to_open(self, card: EngineCard) -> str | None:
        """The same to run this engine, which may need less than to build one."""
        del card
        return self.missing()

    def identity(self) -> Mapping[str, str] | None:
        """What of this machine decides on the engine that a build gives; None: builds are too quick to be cached.

        Asked only where ``missing`` gives None.
        """
        return None

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
        self,
        model: Path,
        card: ModelCard,
        precision: Precision,
        folder: Path,
        options: OptionsT,
        progress: Progress,
    ) -> BuildResult:
        """Write the engine's files into the empty ``folder``.

        Args:
            model: the exported model's folder; its files were already verified.
            options: as ``accept`` gave them.
            progress: told of each step.
        """

    @abstractmethod
    def open(self, folder: Path, card: EngineCard, taps: Sequence[str] = ()) -> Session:
        """Load an engine whose files were already verified.

        Args:
            taps: intermediate tensors to return beside the outputs, by stage name (``p2``,
                ``proposals``, ...).
        """
