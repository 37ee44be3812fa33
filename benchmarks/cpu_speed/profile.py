"""Time of an engine's layers by kind of operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

CONVOLUTION, DEFORMABLE, PRODUCT, OTHER = "convolution", "deformable convolution", "matrix product", "other"
KINDS = (CONVOLUTION, DEFORMABLE, PRODUCT, OTHER)

#: The kind of each type of layer with weights, as OpenVINO names them.
_KIND_OF = {
    "Convolution": CONVOLUTION,
    "GroupConvolution": CONVOLUTION,
    "DeformableConvolution": DEFORMABLE,
    "FullyConnected": PRODUCT,
    "FullyConnectedQuantizedLegacy": PRODUCT,
    "MatMul": PRODUCT,
}
#: How many types of the other layers are listed.
_LISTED = 8


class LayerTime(NamedTuple):
    """One executed layer: OpenVINO's name, type and kernel of it, and its seconds."""

    name: str
    type: str
    kernel: str
    seconds: float


class Profile(msgspec.Struct, frozen=True):
    """Where an engine's time goes.

    Attributes:
        seconds: sum over all layers, with times taken.
        shares: of that sum, by kind.
        others: shares of the types among the layers of kind ``other``, the largest first.
    """

    seconds: float
    shares: dict[str, float]
    others: dict[str, float]


def profile_of(layers: Iterable[LayerTime]) -> Profile:
    """The shares of an engine's layers."""
    kinds: defaultdict[str, float] = defaultdict(float)
    types: defaultdict[str, float] = defaultdict(float)
    for layer in layers:
        kind = _KIND_OF.get(layer.type, OTHER)
        kinds[kind] += layer.seconds
        if kind == OTHER:
            types[layer.type] += layer.seconds
    whole = sum(kinds.values())
    return Profile(
        seconds=whole,
        shares={kind: kinds[kind] / whole for kind in KINDS},
        others={
            name: seconds / whole
            for name, seconds in sorted(types.items(), key=lambda item: -item[1])[:_LISTED]
        },
    )
