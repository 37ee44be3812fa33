"""A bundle for a GPU host: one model, pictures and the references' outputs; read without Paddle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.input_shapes import STRIDE
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import read_arrays, sha256_of, staged_file
from pssdet.validation.gpu_check.seeded_weights import seed_weights

if TYPE_CHECKING:
    import onnx

SCHEMA = 2
CARD, MODEL, PROBE, PICTURES, EXPECTED = "case.json", "model.onnx", "probe.npz", "pictures.npz", "expected.npz"
OUTPUTS = ("boxes", "scores", "labels", "count")  # a model's, as exported
_POSITIONS = "/positions"  # ends the names of where a probe's stages are sampled

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Picture:
    """One network input before it is normalised and padded."""

    content: NDArray[np.uint8]  # [H, W, 3]
    original_size: tuple[float, float]  # (height, width) of the picture it was resized from
    scale: float  # of that resizing

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = (side + -side % STRIDE for side in self.content.shape[:2])
        return height, width


class Probe(NamedTuple):
    """The probe of an export, or one of the bundle's model; see ``models/probe.py``.

    Attributes:
        stages: sampled maps [1, K] by name; ``positions`` say where in a flattened map, int64 [K].
    """

    picture: Picture
    outputs: Tensors
    stages: Tensors
    positions: Tensors


@dataclass(frozen=True)
class Case:
    """A bundle's description, ``case.json``."""

    name: str
    model: str  # of the zoo
    seeded: bool  # parameters are drawn, so the detections are meaningless
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fp32: tuple[str, ...]  # ONNX nodes that half precision leaves in float32
    limits: Mapping[str, Mapping[str, float]]  # of an engine's differences, by its precision
    references: tuple[str, ...]  # whose outputs ``expected.npz`` holds
    batches: tuple[int, ...]  # to be timed
    versions: Mapping[str, str]  # of the packages it was made with
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 by name
    schema: int = SCHEMA

    def inputs(self, pictures: Sequence[Picture]) -> Tensors:
        """The model's inputs for pictures of one padded size."""
        return {
            "image": np.stack([network_image(each.content, self.mean, self.std) for each in pictures]),
            "image_size": np.array([each.content.shape[:2] for each in pictures], np.float32),
            "original_size": np.array([each.original_size for each in pictures], np.float32),
            "scale_factor": np.array([(each.scale, each.scale) for each in pictures], np.float32),
        }


class Bundle:
    """An opened bundle.

    Raises:
        EnvironmentMissing: there is none.
        BadInput: a file is missing or not what was packed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        card = read_card(folder)
        lists = {name: tuple(value) for name, value in card.items() if isinstance(value, list)}
        self.case = Case(**{**card, **lists})
        self.pictures = self._pictures() if PICTURES in self.case.files else []

    def identity(self) -> str:
        """Equal for bundles whose results belong together."""
        return sha256_of(self.folder / CARD)

    def model(self) -> onnx.ModelProto:
        """The exported model, its large parameters drawn again if they did not travel."""
        import onnx

        return seed_weights(onnx.load(self.folder / MODEL))

    def cycled(self, count: int) -> Tensors:
        """A batch of so many pictures of the first one's padded size, repeated if there are fewer."""
        size = self.pictures[0].padded_size
        alike = [each for each in self.pictures if each.padded_size == size]
        return self.case.inputs(list(islice(cycle(alike), count)))

    def expected(self, reference: str) -> Tensors:
        """The outputs for all pictures, each alone in its batch."""
        arrays = read_arrays(self.folder / EXPECTED, [f"{reference}_{name}" for name in OUTPUTS])
        return {name: arrays[f"{reference}_{name}"] for name in OUTPUTS}

    def probe(self) -> Probe:
        """The picture that engines are proved by; ``BadInput`` if this bundle has none."""
        if PROBE not in self.case.files:
            raise BadInput(f"{self.folder} has no probe; pack it again with this version")
        arrays = read_arrays(self.folder / PROBE, ("picture", *OUTPUTS))
        content = arrays.pop("picture")
        height, width = content.shape[:2]
        positions = {
            name.removesuffix(_POSITIONS): arrays.pop(name)
            for name in list(arrays)
            if name.endswith(_POSITIONS)
        }
        outputs = {name: arrays.pop(name) for name in OUTPUTS}
        return Probe(Picture(content, (float(height), float(width)), 1.0), outputs, arrays, positions)

    def _pictures(self) -> list[Picture]:
        arrays = read_arrays(self.folder / PICTURES, ("sizes", "pixels", "original_sizes", "scales"))
        sizes = arrays["sizes"]
        pixels = np.split(arrays["pixels"], 3 * sizes.prod(axis=1).cumsum()[:-1])
        contents = [flat.reshape(*size, 3) for flat, size in zip(pixels, sizes, strict=True)]
        originals = map(tuple, arrays["original_sizes"].tolist())
        return list(map(Picture, contents, originals, arrays["scales"].tolist()))


def network_image(
    content: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """float32 [3, H, W], padded with zeros; to the bit what ``models/preprocess.py`` makes of 8-bit pixels."""
    unit = content.astype(np.float32) / np.float32(255.0)
    centre, spread = (np.array(each).astype(np.float32) for each in (mean, std))
    planes = ((unit - centre) / spread).transpose(2, 0, 1)
    return np.pad(planes, ((0, 0), *((0, -side % STRIDE) for side in planes.shape[1:])))


def write_bundle(
    folder: Path,
    case: Case,
    model: onnx.ModelProto,
    pictures: Sequence[Picture],
    expected: Mapping[str, Sequence[Tensors]],
) -> None:
    """Fill a folder that has a probe or nothing; ``expected``: by reference, each picture's outputs."""
    import onnx

    onnx.save(model, folder / MODEL)
    if pictures:
        save_arrays(folder / PICTURES, _packed(pictures))
        outputs = {
            f"{reference}_{name}": np.concatenate([each[name] for each in found])
            for reference, found in expected.items()
            for name in OUTPUTS
        }
        save_arrays(folder / EXPECTED, outputs)
    names = [name for name in (MODEL, PROBE, PICTURES, EXPECTED) if (folder / name).is_file()]
    card = {**asdict(case), "files": {name: sha256_of(folder / name) for name in names}}
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n")


def read_card(folder: Path) -> dict[str, Any]:
    """What ``case.json`` holds, once all files were found to be what was packed; raises as ``Bundle``."""
    how = "pssdet gpu-check --pack makes it, where Paddle is installed"
    try:
        card = json.loads((folder / CARD).read_bytes())
    except FileNotFoundError as error:
        raise EnvironmentMissing(f"there is no bundle {folder}; {how}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} is not a bundle ({error}); {how}") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA or "files" not in card:
        raise BadInput(f"{folder / CARD} is of another version; pack it again with this one")
    for name, digest in card["files"].items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise BadInput(f"{folder / name} is missing or not what was packed; copy or pack it again")
    return card


def save_arrays(path: Path, arrays: Tensors) -> None:
    """Write a compressed .npz; the file appears whole or not at all."""
    # NumPy declares its own options only.
    save: Any = np.savez_compressed
    with staged_file(path) as stage, stage.open("wb") as file:
        save(file, **arrays)


def _packed(pictures: Sequence[Picture]) -> Tensors:
    return {
        "pixels": np.concatenate([each.content.reshape(-1) for each in pictures]),
        "sizes": np.array([each.content.shape[:2] for each in pictures], np.int64),
        "original_sizes": np.array([each.original_size for each in pictures], np.float64),
        "scales": np.array([each.scale for each in pictures], np.float64),
    }
