"""The parameters of a detector, from a checkpoint or from a seed, and the record of where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.files import sha256_of
from pssdet.models.card import WeightsRecord
from pssdet.models.checkpoint import match_parameters, read_checkpoint
from pssdet.models.download import resolve_weights
from pssdet.models.seeded import seeded_parameters
from pssdet.models.zoo import BUNDLED

#: ``--weights`` value that asks for seeded random parameters.
SEEDED = "none"

Parameters = dict[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]


def load_parameters(source: str, shapes: Shapes, sha256: str = "") -> tuple[Parameters, WeightsRecord]:
    """Every parameter by name, and the record for the card.

    Args:
        source: a checkpoint file, its URL, or ``none`` for seeded random values.
        shapes: what the detector needs.
        sha256: expected hash of the file, where one is known.

    Raises:
        BadInput: the checkpoint is damaged, hostile or of another model.
        EnvironmentMissing: it cannot be downloaded.
    """
    if source == SEEDED:
        return seeded_parameters(shapes), WeightsRecord("seeded")
    path = resolve_weights(source, sha256)
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if sha256 and found != sha256:
        raise BadInput(f"{path} has sha256 {found}, not {sha256}: it is another checkpoint; give the right one")
    parameters = match_parameters(read_checkpoint(path), shapes, str(path))
    kept = source if "://" in source or source.startswith(BUNDLED) else str(path.resolve())
    return parameters, WeightsRecord("checkpoint", kept, found)


def reload_parameters(record: WeightsRecord, shapes: Shapes) -> Parameters:
    """The parameters that a card speaks of, verified to be the same.

    Raises:
        BadInput: the checkpoint is gone, or is not the one that was exported.
        EnvironmentMissing: it cannot be downloaded.
    """
    if record.kind == "seeded":
        return seeded_parameters(shapes)
    if not _can_be_had(record.source):
        raise BadInput(f"the checkpoint {record.source} is gone; export the model again with --weights FILE")
    return load_parameters(record.source, shapes, record.sha256)[0]


def _can_be_had(source: str) -> bool:
    return "://" in source or source.startswith(BUNDLED) or Path(source).is_file()
