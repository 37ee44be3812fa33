"""A probe: a picture, and what a detector computes of it.

That of an export holds what Paddle computes: engines are proved by it where nothing else runs. That of an
engine holds what it computed when it was proved: so it can be tested wherever it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.files import read_arrays
from pssdet.models.architecture import Architecture
from pssdet.models.card import FileRecord, ProfileRecord, StageRecord
from pssdet.models.preprocess import (
    as_batch,
    checked_scale,
    prepare_unresized,
    resize_short_side,
    sample_picture,
)
from pssdet.models.reader import Preprocessing
from pssdet.models.stages import (
    Limits,
    StageTensors,
    compare,
    compare_detections,
    map_stages,
    region_stages,
)

PROBE = "probe.npz"

#: Inputs of a model, by name.
Inputs: TypeAlias = "dict[str, NDArray[np.float32]]"

#: What its records are called in a card's verification.
CASE = "probe"

#: Longest side of the picture, pixels: it stays small, and one inference quick.
_LONGEST = 640

#: Width of the part of the bundled picture that is taken, which makes it 4:3.
_WIDTH = 640

#: Values that are kept of each map, and of each region's row; the largest value of the stage comes on top.
_OF_MAP = 256
_OF_ROW = 8

#: Multiples of it, less their whole parts, are spread evenly and never fall into step with a map's width.
_GOLDEN = (5**0.5 - 1) / 2

_POSITIONS = "/positions"


class Probe(NamedTuple):
    """What a ``.npz`` file holds.

    Attributes:
        picture: uint8 [h, w, 3] RGB, at the size at which the network sees it.
        positions: for each sampled stage int64 [K], indices into a flattened map, or a region's flattened row.
        tensors: of the picture alone, the outputs, and the stages if they could be had, by name; of sampled
            stages, maps are [1, K] and regions [R, K].
    """

    picture: NDArray[np.uint8]
    positions: Mapping[str, NDArray[np.int64]]
    tensors: StageTensors

    @property
    def has_stages(self) -> bool:
        """Whether stages stand beside the outputs."""
        return not set(self.positions).isdisjoint(self.tensors)

    @property
    def finds_nothing(self) -> bool:
        """Whether there are no detections, so that only stages tell one model from another."""
        return int(self.tensors["count"][0]) == 0

    def inputs(self, steps: Preprocessing, profiles: Sequence[ProfileRecord] = ()) -> Inputs:
        """The picture as a model takes it, in the smallest batch of the first profile that takes its size.

        Raises:
            BadInput: there are profiles, but none takes it.
        """
        if not profiles:
            return _as_it_is(self.picture, steps)
        for profile in profiles:
            inputs = _as_it_is(self.picture, steps, profile.min[0])
            sizes = zip(profile.min[1:], inputs["image"].shape[2:], profile.max[1:], strict=True)
            if all(low <= side <= high for low, side, high in sizes):
                return inputs
        height, width = self.picture.shape[:2]
        raise BadInput(
            f"no profile of the engine takes its probe, a picture of {height}x{width};"
            " build it with --min-shapes and --max-shapes that do"
        )

    def answered(self, tensors: StageTensors) -> Probe:
        """The same picture with what another run of ``inputs`` gives; of a batch, the first image counts."""
        batch = len(tensors["count"])
        first = {name: value[: len(value) // batch] for name, value in tensors.items()}
        return self._replace(tensors=_sampled(first, self.positions))

    def compare(self, arch: Architecture, tensors: StageTensors, limits: Limits) -> list[StageRecord]:
        """Agreement of another run of ``inputs``: by stages if both have them, else by detections."""
        other = self.answered(tensors)
        if self.has_stages and other.has_stages:
            return compare(CASE, arch, self.tensors, other.tensors, limits)
        return compare_detections(CASE, self.tensors, other.tensors, limits)


def _picture(steps: Preprocessing) -> NDArray[np.uint8]:
    """A 4:3 part of the bundled picture, at the detector's test size but at most 640 pixels long.

    Padded it has the typical size, which the default profile of an engine is tuned for.
    """
    picture = np.ascontiguousarray(sample_picture()[:, :_WIDTH])
    small = msgspec.structs.replace(
        steps, short_side=min(steps.short_side, _LONGEST), long_side=min(steps.long_side, _LONGEST)
    )
    return resize_short_side(picture, round(min(picture.shape[:2]) * checked_scale(picture, small)))


def _as_it_is(picture: NDArray[np.uint8], steps: Preprocessing, batch: int = 1) -> Inputs:
    """Inputs of ``batch`` times the picture, normalised and padded but not resized."""
    return as_batch([prepare_unresized(picture, steps)] * batch)


def make_probe(steps: Preprocessing, arch: Architecture, run: Callable[[Inputs], StageTensors]) -> Probe:
    """The probe of a detector; ``run`` gives its outputs and every tensor of ``tap_names``."""
    picture = _picture(steps)
    tensors = run(_as_it_is(picture, steps))
    maps = dict.fromkeys(map_stages(arch), _OF_MAP)
    rows = {name: _OF_ROW for name in region_stages(arch) if not name.startswith("rois_")}
    positions = {name: _spread(tensors[name], count) for name, count in (maps | rows).items()}
    return Probe(picture, positions, {}).answered(tensors)


def _spread(tensor: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Positions in a flattened row of a tensor, spread evenly, and that of its largest value.

    A difference counts relative to a map's largest value: so a sample is judged as the whole map is.
    """
    rows = np.abs(tensor.reshape(len(tensor), -1))
    size = rows.shape[1]
    largest = int(np.nanargmax(rows)) % size if rows.size else 0
    spread = (np.arange(count) * _GOLDEN % 1 * size).astype(np.int64)
    return np.union1d(spread, np.array([largest]))


def _sampled(tensors: StageTensors, positions: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    # A map of another size is no error here: it has other values at the positions.
    sampled = {
        name: tensors[name].reshape(len(tensors[name]), -1).take(at, axis=1, mode="clip")
        for name, at in positions.items()
        if name in tensors
    }
    return {**tensors, **sampled}


def write_probe(path: Path, probe: Probe) -> None:
    """Write it as a compressed ``.npz`` file; the bytes depend on the content alone."""
    positions = {name + _POSITIONS: value for name, value in probe.positions.items()}
    arrays: dict[str, Any] = {"picture": probe.picture, **positions, **probe.tensors}
    np.savez_compressed(path, **arrays)


def read_probe(folder: Path, record: FileRecord) -> Probe:
    """The probe in a folder, after its hash was found right.

    Raises:
        BadInput: it is missing, altered or no probe.
    """
    path = record.verify(folder)
    try:
        arrays = read_arrays(path, ("picture", "boxes", "scores", "labels", "count"))
    except BadInput as error:
        raise BadInput(f"{error}; it is no probe of this version, make it again") from error
    picture = arrays.pop("picture")
    positions = {name: arrays.pop(name) for name in list(arrays) if name.endswith(_POSITIONS)}
    if not _fit_together(picture, arrays):
        raise BadInput(f"{path} holds arrays of other shapes or types than a probe has; make it again")
    return Probe(picture, {name.removesuffix(_POSITIONS): at for name, at in positions.items()}, arrays)


def _fit_together(picture: NDArray[Any], arrays: StageTensors) -> bool:
    """Whether picture and outputs have the shapes and types of one image's."""
    slots = arrays["scores"].size
    shapes = {"boxes": (1, slots, 4), "scores": (1, slots), "labels": (1, slots), "count": (1,)}
    if any(
        arrays[name].shape != shape or arrays[name].dtype.kind not in "if" for name, shape in shapes.items()
    ):
        return False
    is_picture = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size > 0
    return is_picture and 0 <= arrays["count"][0] <= slots
