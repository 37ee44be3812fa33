"""The cards, strict JSON: ``model.json`` of an exported model, ``engine.json`` of an engine."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from pssdet.errors import BadInput
from pssdet.files import sha256_of
from pssdet.models.architecture import Architecture
from pssdet.models.classification import ClassifierArchitecture
from pssdet.models.numerics import Numerics
from pssdet.models.reader import CentreCrop, Preprocessing

SCHEMA = 1
MODEL_CARD = "model.json"
MODEL_ONNX = "model.onnx"
ENGINE_CARD = "engine.json"

Precision = Literal["fp32", "fp16", "bf16", "int8"]


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file beside the card; size and hash prove that it is the right one."""

    name: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """The record of an existing file."""
        return cls(path.name, sha256_of(path), path.stat().st_size)

    def verify(self, folder: Path) -> Path:
        """The file's path in ``folder``, after its size and hash were found right.

        Raises:
            BadInput: it is missing or is not the file that the card describes.
        """
        if Path(self.name).name != self.name:
            raise BadInput(
                f"the card in {folder} names {self.name!r}, which is no file beside it; make it again"
            )
        path = folder / self.name
        try:
            same = path.stat().st_size == self.bytes and sha256_of(path) == self.sha256
        except OSError as error:
            raise BadInput(
                f"{path} cannot be read ({error.strerror}); build or export {folder} again"
            ) from error
        if not same:
            raise BadInput(
                f"{path} is not the file its card describes (sha256 differs); build or export it again"
            )
        return path


class TensorRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of the model; dimensions that vary are given by name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str


class WeightsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the parameters came from; ``seeded`` means random values, good for speed only."""

    kind: Literal["checkpoint", "seeded"]
    source: str = ""
    sha256: str = ""


class GraphRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exported graph; node counts with functions inlined, as converted and as shipped."""

    opset: int
    nodes_converted: int
    nodes: int


class StageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Agreement of two runs at one stage of the detector.

    Attributes:
        case: what was run, e.g. ``batch of two, image 1``.
        difference: the largest, in ``unit``, once the share of regions that near-ties
            may take is left out; of detections, that of a pair's coordinates. Where these fail, ``difference``,
            ``limit`` and ``unit`` are of what differs: coordinates, scores, their order, labels, or the count.
        share: part of the rows within the limit (1.0 for maps).
    """

    case: str
    stage: str
    difference: float
    limit: float
    unit: str
    share: float
    passed: bool


class _ExportCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every exported model's card says; label i of ``labels`` is class i of the model."""

    labels: tuple[str, ...]
    weights: WeightsRecord
    onnx: FileRecord
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    graph: GraphRecord
    versions: dict[str, str]
    verification: tuple[StageRecord, ...]
    schema: int = SCHEMA


class ModelCard(_ExportCard, frozen=True, forbid_unknown_fields=True):
    """``model.json``: an exported detector; older ones have no ``probe``, see ``models/probe.py``."""

    model: str
    architecture: Architecture
    numerics: Numerics
    preprocessing: Preprocessing
    probe: FileRecord | None = None


class ClassifierCard(_ExportCard, frozen=True, forbid_unknown_fields=True):
    """``model.json``: an exported classifier."""

    model: str
    task: Literal["classification"]
    architecture: ClassifierArchitecture
    preprocessing: CentreCrop


class CalibrationRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the ranges of an int8 engine's activations were found, from how many pictures.

    ``ranges_sha256`` is over the ranges by name of the tensor: equal for equal ranges.
    """

    images: int
    method: str
    ranges_sha256: str


class GpuRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The GPU that an engine was built on.

    ``cuda`` is the newest version that the driver serves; ``driver`` is empty where it could not be read.
    """

    name: str
    capability: tuple[int, int]
    cuda: str
    driver: str = ""


class RecipeRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which nodes of an engine stay in float32; ``sha256`` is of the recipe's file or content."""

    sha256: str
    fp32: tuple[str, ...]
    note: str = ""


class ProfileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Input shapes that an engine serves, (N, H, W): smallest, the one it is tuned for, largest."""

    min: tuple[int, int, int]
    opt: tuple[int, int, int]
    max: tuple[int, int, int]


class LayersRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Precision of an engine's layers as the engine itself reports it.

    Attributes:
        layers: how many of each precision.
        convolution_flops: of the convolutions of each precision, at the first profile's typical shape.
        wide: convolutions that are in float32, by node, largest first.
        deformable_flops: of the deformable convolutions, where ``convolution_flops`` leaves them out.
        held: the nodes that were to stay in float32, by what became of them; see ``engines/trt/plan/held.py``.
    """

    layers: dict[str, int]
    convolution_flops: dict[str, int]
    wide: tuple[str, ...]
    deformable_flops: dict[str, int] = {}
    held: dict[str, tuple[str, ...]] = {}


class EngineCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``engine.json``: an engine, the model it came from, and where it was built.

    Attributes:
        options: of the build, beside backend and precision; values as on a command line.
        key: in the cache of engines; empty for builds that are not cached.
        plugins: the library of plugins that the engine was built with; it does not lie beside the card.
        tapped: the engine returns every stage.
        reason: why ``--backend auto`` took this backend; empty if it was named.
        probe: what it computed when it was proved; older engines have none.
        environment: what of the build's machine computed; see ``Backend.environment``.
    """

    backend: str
    precision: Precision
    emulated: bool
    files: tuple[FileRecord, ...]
    fp32_nodes: int
    versions: dict[str, str]
    machine: str
    build_seconds: float
    verification: tuple[StageRecord, ...]
    model: ModelCard
    calibration: CalibrationRecord | None = None
    gpu: GpuRecord | None = None
    plugins: FileRecord | None = None
    recipe: RecipeRecord | None = None
    profiles: tuple[ProfileRecord, ...] = ()
    layers: LayersRecord | None = None
    options: dict[str, str] = {}
    tapped: bool = False
    key: str = ""
    reason: str = ""
    environment: dict[str, str] = {}
    probe: FileRecord | None = None
    schema: int = SCHEMA

    @property
    def beside(self) -> tuple[FileRecord, ...]:
        """Every file that lies beside the card: the backend's, and the probe."""
        return self.files if self.probe is None else (*self.files, self.probe)


_Card = TypeVar("_Card", ModelCard, EngineCard, ClassifierCard)


class _Task(msgspec.Struct):
    """The field by which a classifier's card is recognised."""

    task: str = ""


def read_model_card(folder: Path) -> ModelCard:
    """The card of an exported detector's folder.

    Raises:
        BadInput: there is none, or it is another card.
    """
    return _read(folder / MODEL_CARD, ModelCard, "python export/to_onnx.py")


def read_classifier_card(folder: Path) -> ClassifierCard:
    """The card of an exported classifier's folder; raises as ``read_model_card``."""
    return _read(folder / MODEL_CARD, ClassifierCard, "python export/to_onnx.py --model resnet50_vd_ssld")


def read_engine_card(folder: Path) -> EngineCard:
    """The card of an engine's folder; raises as ``read_model_card``."""
    return _read(folder / ENGINE_CARD, EngineCard, "python engines/build.py")


def _read(path: Path, kind: type[_Card], command: str) -> _Card:
    folder = path.parent
    if kind is EngineCard and (folder / MODEL_CARD).is_file() and not path.is_file():
        _refuse_classifier(folder)
        inside = " or ".join(str(each.parent) for each in sorted(folder.glob(f"*/{ENGINE_CARD}")))
        advice = f"choose {inside}" if inside else f"make one with {command}"
        raise BadInput(f"{folder} is an exported model, an engine is needed; {advice}")
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"{folder} is not a folder with {path.name}; make one with {command}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); make one with {command}") from error
    try:
        card = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if kind is ModelCard:
            _refuse_classifier(folder)
        what = "a classifier's card" if kind is ClassifierCard else "a card"
        raise BadInput(
            f"{path} is not {what} of this version ({error}); make it again with {command}"
        ) from error
    if card.schema != SCHEMA:
        raise BadInput(
            f"{path} has schema {card.schema}, this version reads {SCHEMA}; make it again with {command}"
        )
    return card


def _refuse_classifier(folder: Path) -> None:
    """Raise if the folder holds a classifier, where a detector is needed."""
    try:
        task = msgspec.json.decode((folder / MODEL_CARD).read_bytes(), type=_Task).task
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return
    if task == "classification":
        raise BadInput(
            f"{folder} is an exported classifier, a detector is needed; pssdet top1 measures a classifier"
        )


def encode(card: ModelCard | EngineCard | ClassifierCard) -> bytes:
    """The card as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def installed_versions(*packages: str) -> dict[str, str]:
    """Versions of Python, this project and the named packages, where installed."""
    versions = {"python": platform.python_version()}
    for package in ("pss-det", *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
