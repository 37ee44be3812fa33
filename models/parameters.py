"""The parameters of a model, from a checkpoint or from a seed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.files import sha256_of
from pssdet.models.card import WeightsRecord
from pssdet.models.checkpoint_formats.archives import list_folder
from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint
from pssdet.models.checkpoint_formats.untrusted import Refused
from pssdet.models.download import fetch
from pssdet.models.zoo import BUNDLED

_CHECKPOINTS = Path(__file__).resolve().parent / "checkpoints"

#: ``--weights`` value that asks for seeded random parameters.
SEEDED = "none"

Parameters = dict[str, NDArray[np.float32]]
ParameterShapes = Mapping[str, tuple[int, ...]]

#: Standard deviation of weights, times 1/sqrt(inputs of one output), where it is not sqrt(2); first match wins.
_GAINS = (
    ("conv_offset", 0.3),
    ("rpn_rois_score", 1.2),
    ("rpn_rois_delta", 0.5),
    ("bbox_score", 1.5),
    ("bbox_delta", 1.0),
    ("fpn_inner", 1.0),
    ("fpn_res2", 0.2),
    ("fpn_res3", 0.3),
    ("fpn_res4", 0.6),
    ("fpn_res5", 1.2),
)


def load_parameters(
    source: str,
    shapes: ParameterShapes,
    sha256: str = "",
    rename: Callable[[Parameters, str], Parameters] | None = None,
) -> tuple[Parameters, WeightsRecord]:
    """Every parameter by name, and the record for the card.

    Args:
        source: a checkpoint's file or folder, its URL, or ``none`` for seeded random values.
        shapes: of every parameter that the model needs.
        sha256: expected hash, where one is known.
        rename: gives a checkpoint's parameters the model's names; called with them and the file's path.

    Raises:
        BadInput: the checkpoint is damaged, hostile or of another model.
        EnvironmentMissing: it cannot be downloaded.
    """
    if source == SEEDED:
        return seeded_parameters(shapes), WeightsRecord("seeded")
    path = resolve_weights(source, sha256)
    found = _hash_of(path)
    if sha256 and found != sha256:
        raise BadInput(f"{path} has sha256 {found}, not {sha256}: it is another checkpoint; give the right one")
    named = read_checkpoint(path)
    if rename:
        named = rename(named, str(path))
    parameters = match_parameters(named, shapes, str(path))
    kept = source if _is_address(source) else str(path.resolve())
    return parameters, WeightsRecord("checkpoint", kept, found)


def resolve_weights(source: str, sha256: str = "") -> Path:
    """The local file or folder of a checkpoint: a path, ``bundled:FILE``, or a URL, which is fetched.

    Raises:
        BadInput: there is no such file, or the URL does not lead to the right one.
        EnvironmentMissing: the network or the server fails.
    """
    if "://" in source:
        return fetch(source, sha256)
    if source.startswith(BUNDLED):
        return _CHECKPOINTS / source.removeprefix(BUNDLED)
    try:
        path = Path(source).expanduser()
        found = bool(source) and (path.is_file() or path.is_dir())
    except (OSError, RuntimeError):  # a folder that may not be entered, a user that does not exist
        found = False
    if not found:
        raise BadInput(
            f"{source} is no file or folder; name a checkpoint's file, its folder, an http(s) URL, or none for"
            " seeded random parameters"
        )
    return path


def _hash_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of what ``sha256sum *`` prints."""
    try:
        if path.is_dir():
            listing = "".join(f"{sha256_of(path / name)}  {name}\n" for name in list_folder(path))
            return hashlib.sha256(listing.encode()).hexdigest()
        return sha256_of(path)
    except Refused as refused:
        raise BadInput(f"{path} {refused}") from refused
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def reload_parameters(record: WeightsRecord, shapes: ParameterShapes) -> Parameters:
    """The parameters that a card records, verified by their hash.

    Raises:
        BadInput: the checkpoint is gone, or is not the one that was exported.
        EnvironmentMissing: it cannot be downloaded.
    """
    if record.kind == "seeded":
        return seeded_parameters(shapes)
    if not _is_address(record.source) and not Path(record.source).exists():
        raise BadInput(f"the checkpoint {record.source} is gone; export the model again with --weights FILE")
    return load_parameters(record.source, shapes, record.sha256)[0]


def _is_address(source: str) -> bool:
    return "://" in source or source.startswith(BUNDLED)


def seeded_parameters(shapes: ParameterShapes) -> Parameters:
    """Random float32 values by parameter name, for measuring and testing without a checkpoint.

    An array depends on its name and shape (convolutions OIHW, linear layers [in, out]) alone:
    CRC-32 of the name seeds NumPy's legacy generator, whose streams never change. Activations
    keep their size through the network, offsets reach a few pixels; the detections mean nothing.
    """
    return {
        name: np.ascontiguousarray(_values(name, shape), dtype=np.float32) for name, shape in shapes.items()
    }


def _values(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("._mean"):
        return rng.normal(0.0, 0.05, shape)
    if name.endswith("._variance"):
        return rng.uniform(0.8, 1.25, shape)
    if name.endswith("norm.weight"):
        # A small gain on each residual branch keeps the sum of many blocks bounded.
        gain = 0.25 if "branch2c" in name else 1.0
        return gain * rng.uniform(0.8, 1.2, shape)
    if len(shape) == 1:
        return _bias(name, shape, rng)
    fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
    gain = next((gain for part, gain in _GAINS if part in name), 0.0)
    return rng.normal(0.0, gain / np.sqrt(fan_in) if gain else np.sqrt(2.0 / fan_in), shape)


def _bias(name: str, shape: tuple[int, ...], rng: np.random.RandomState) -> NDArray[np.float64]:
    bias = rng.normal(0.0, 0.5 if "conv_offset" in name else 0.02, shape)
    if "rpn_rois_delta" in name:  # proposals larger than their anchors on average
        bias = (bias.reshape(-1, 4) + np.array([0.0, 0.0, 0.35, 0.35])).reshape(shape)
    if "bbox_score" in name:
        bias = rng.normal(0.0, 0.5, shape)  # the second draw of the stream
        bias[-1] += 1.5  # most regions are background
    return bias
