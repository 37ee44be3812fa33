"""What a compiled model computes in, as OpenVINO's executed graph says, and whether that was asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pssdet.engines.ov.held import is_held
from pssdet.engines.ov.rules import WITHOUT_BIAS
from pssdet.errors import GateFailed, some

#: OpenVINO's element types; it may take int8 kernels for unsigned values.
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
#: From the narrowest on; integers and booleans of other types, which hold no features, come behind.
_BY_WIDTH = ("int8", "bf16", "fp16", "fp32")
_HALF = frozenset({"bf16", "fp16"})
_WEIGHTED = frozenset({"Convolution", "DeformableConvolution", "FullyConnected", "MatMul"})

#: Share of the operations of the convolutions chosen for a precision that must run in it.
REQUIRED_SHARE: dict[Literal["bf16", "int8"], float] = {"bf16": 0.95, "int8": 0.75}
#: Names such as ``Multiply_28750``; those of exported nodes begin in lower case.
_GENERATED = re.compile(r"[A-Z]\w*_\d+")


class Executed(NamedTuple):
    """Precisions of a compiled model.

    Attributes:
        layers: number of executed layers with weights of each precision.
        nodes: precision of each ONNX node; one that was fused has that of the layer it became part of. Where it
            became several, that of the layer with its weights counts, whose operations these are (a bias may be
            added in another precision), else the narrowest.
        half: nodes that a layer in half precision computes, be it only a part of them.
    """

    layers: dict[str, int]
    nodes: dict[str, str]
    half: frozenset[str]

    def operations(self, counted: Mapping[str, int]) -> dict[str, int]:
        """Operations by precision.

        Args:
            counted: of each node, as ``convolution_flops`` gives them.
        """
        sums: Counter[str] = Counter()
        for node, operations in counted.items():
            sums[self.nodes.get(node, "unknown")] += operations
        return dict(sums)

    def others(self, nodes: Iterable[str], precision: str) -> tuple[str, ...]:
        """Those of the nodes that run in another precision, or are not in the executed graph."""
        return tuple(node for node in nodes if self.nodes.get(node) != precision)


class _Part(NamedTuple):
    """A layer that computes a node, or a part of it."""

    weighted: bool
    precision: str

    def rank(self) -> tuple[bool, int]:
        """The smallest is that of the part which decides on the node's precision."""
        known = self.precision in _BY_WIDTH
        return not self.weighted, _BY_WIDTH.index(self.precision) if known else len(_BY_WIDTH)


def executed(compiled: Any, bias_of: Mapping[str, str]) -> Executed:
    """The precisions of an ``openvino.CompiledModel``.

    Args:
        bias_of: the ``Add`` of each ``MatMul`` with a bias: the layer that computes both has its name.
    """
    layers: Counter[str] = Counter()
    parts: dict[str, set[_Part]] = {}
    for layer in compiled.get_runtime_model().get_ops():
        said = {name: value.astype(str) for name, value in layer.get_rt_info().items()}
        precision = _PRECISIONS.get(said["runtimePrecision"], said["runtimePrecision"])
        weighted = said["layerType"] in _WEIGHTED
        layers[precision] += weighted
        part = _Part(weighted, precision)
        for name in filter(None, said["originalLayersNames"].split(",")):
            parts.setdefault(name.removesuffix(WITHOUT_BIAS), set()).add(part)
    parts = {product: parts[bias] for product, bias in bias_of.items() if bias in parts} | parts
    nodes = {node: min(each, key=_Part.rank).precision for node, each in parts.items()}
    half = frozenset(node for node, each in parts.items() if any(part.precision in _HALF for part in each))
    return Executed(dict(+layers), nodes, half)


def prove(
    found: Executed, asked: Literal["bf16", "int8"], chosen: Mapping[str, int], float32: Collection[str]
) -> None:
    """Fail unless the compiled model computes as it was told to.

    Args:
        chosen: operations of the convolutions that are to run in the precision asked for.
        float32: nodes that are held to float32.

    Raises:
        GateFailed: too few of them do, or a node that is held does not.
    """
    freed = {
        *found.others(float32, "fp32"),
        *found.half.intersection(float32),
        *_rounded(found, generated=asked != "int8"),
    }
    if freed:
        raise GateFailed(
            f"OpenVINO does not keep {some(sorted(freed))} in float32, as it should; nothing was written"
        )
    whole, reached = sum(chosen.values()), found.operations(chosen).get(asked, 0)
    if reached < REQUIRED_SHARE[asked] * whole or not whole:
        share = reached / whole if whole else 0.0
        raise GateFailed(
            f"{asked} was asked for, but of the operations of the convolutions chosen for it OpenVINO computes"
            f" {share:.1%} so, where {REQUIRED_SHARE[asked]:.0%} are required; not in {asked}:"
            f" {some(found.others(chosen, asked))}; nothing was written"
        )


def _rounded(found: Executed, *, generated: bool) -> list[str]:
    """Nodes that are neither trunk nor head and run in half precision; they may be integers or booleans.

    Args:
        generated: count layers that OpenVINO made and named itself; of int8 trunks it makes some, too.
    """
    return [node for node in found.half if is_held(node, ()) and (generated or not _GENERATED.fullmatch(node))]
