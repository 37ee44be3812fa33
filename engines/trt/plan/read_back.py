"""What a built plan made of the nodes held to float32, as far as TensorRT's inspector tells."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pssdet.engines.trt.plan.held import COMPUTED, MOVED, Held
from pssdet.engines.trt.plan.inspector import COPIES, MOVERS, by_node, computing_types, output_types
from pssdet.errors import GateFailed, some

#: Regions that TensorRT's compiler makes of many nodes. 8.6 calls such a layer ``Myelin`` and names it
#: ``{ForeignNode[first...last]}``; 10 lists its kernels, with types in lower case (``kgen``, ``gemm``) and
#: names that end in ``_myl12_3``. Their inputs and outputs say nothing of what lies between.
_REGION_TYPE = re.compile(r"Myelin|[a-z]")
_REGION_NAME = re.compile(r"^\{ForeignNode\[|_myl\d+(_\d+)?$")

_NOT_TOLD = "held, but the inspector does not tell"


class ReadBack(NamedTuple):
    """The held nodes of a plan.

    Attributes:
        float32: those that the inspector confirms, by what they were held to (``COMPUTED``, ``MOVED``).
        not_told: those that are part of a fused region, or of no layer at all.
        rounded: those that a layer computes or moves in fewer bits.
    """

    float32: Mapping[str, tuple[str, ...]]
    not_told: tuple[str, ...]
    rounded: tuple[str, ...]

    def prove(self) -> None:
        """Raise ``GateFailed`` if a node is rounded."""
        if self.rounded:
            raise GateFailed(
                f"TensorRT does not keep {some(self.rounded)} in float32, as it was told to;"
                " no engine was written"
            )

    def recorded(self, held: Held) -> dict[str, tuple[str, ...]]:
        """Every node that was to stay in float32, by what became of it."""
        told = {what: nodes for what, nodes in self.float32.items() if nodes}
        fused = {_NOT_TOLD: self.not_told} if self.not_told else {}
        return {**told, **fused, **held.exempt}


def read_back(layers: Sequence[Mapping[str, Any]], held: Held) -> ReadBack:
    """Look up what the inspector tells of each held node.

    Args:
        layers: as ``inspector.read_layers`` gives them.
    """
    of_node = by_node(layers)
    float32: dict[str, tuple[str, ...]] = {}
    not_told: list[str] = []
    rounded: list[str] = []
    for what, nodes in ((COMPUTED, held.computed), (MOVED, held.moved)):
        told = {node: _told(of_node.get(node, []), moves=what == MOVED) for node in nodes}
        float32[what] = tuple(node for node, types in told.items() if types == {"fp32"})
        not_told += [node for node, types in told.items() if not types]
        rounded += [node for node, types in told.items() if types - {"fp32"}]
    return ReadBack(float32, tuple(not_told), tuple(rounded))


def _told(layers: Sequence[Mapping[str, Any]], *, moves: bool) -> set[str]:
    """The types in which the layers that carry a node's name compute it, or give out what it moves."""
    added = COPIES if moves else MOVERS
    own = [
        layer
        for layer in layers
        if not is_fused_region(layer) and not str(layer.get("LayerType", "")).startswith(added)
    ]
    return {each for layer in own for each in (output_types(layer) if moves else computing_types(layer))}


def is_fused_region(layer: Mapping[str, Any]) -> bool:
    """Whether a layer is, or is part of, a region that TensorRT's compiler made of many nodes."""
    kind, name = str(layer.get("LayerType", "")), str(layer.get("Name", ""))
    return _REGION_TYPE.match(kind) is not None or _REGION_NAME.search(name) is not None
