"""Which precision each convolution of a built plan has, by TensorRT's engine inspector."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pssdet.engines.trt.plan.network import onnx_nodes
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import EnvironmentMissing, GateFailed, some

if TYPE_CHECKING:
    from pssdet.models.card import Precision

LayerPrecision = Literal["fp32", "fp16", "int8", "unknown"]

#: Share of the convolutions' operations that must have the requested precision or a lower one.
REQUIRED_SHARE = 0.9

#: How TensorRT writes data types: "Row major linear FP32", "Half(64,1:8,...)".
_TYPES: tuple[tuple[re.Pattern[str], LayerPrecision], ...] = (
    (re.compile(r"\b(INT8|Int8|int8)\b"), "int8"),
    (re.compile(r"\b(FP16|Half|HALF)\b"), "fp16"),
    (re.compile(r"\b(FP32|Float|FLOAT)\b"), "fp32"),
)
#: How names of layers end that an engine has for a further profile.
_LATER_PROFILE = re.compile(r"\[profile [1-9]\d*\]")

#: From the narrowest to the widest: of contradicting evidence the wider counts.
_WIDTH: dict[LayerPrecision, int] = {"int8": 0, "fp16": 1, "fp32": 2, "unknown": 3}

#: Layers that TensorRT adds and that carry the names of the nodes for which they do.
COPIES = ("Reformat", "Constant", "NoOp", "Shape", "Cast", "Signal", "Wait", "Scale", "Quantize")
#: Layers that move data; so do those of nodes that compute, for other nodes.
MOVERS = (*COPIES, "Shuffle", "Slice")


@dataclass(frozen=True)
class Precisions:
    """Precisions of a plan's layers, by the inspector.

    Attributes:
        layers: number of layers of each precision.
        flops: operations of convolutions of each precision, in the first profile's typical shape.
        wide: convolutions in float32 or of unknown precision, largest first.
    """

    layers: dict[str, int]
    flops: dict[str, int]
    wide: tuple[str, ...]

    def share(self, *precisions: LayerPrecision) -> float:
        """Share of the convolutions' operations in one of these precisions; 0 without convolutions."""
        whole = sum(self.flops.values())
        return sum(self.flops.get(each, 0) for each in precisions) / whole if whole else 0.0


def engine_information(trt: Any, engine: Any, profile: Profile) -> str:
    """The inspector's JSON of an engine whose inputs have the typical shape of its first profile.

    With dynamic shapes the inspector knows formats only in a context whose inputs have sizes.

    Raises:
        EnvironmentMissing: there is no memory for a context.
    """
    context = engine.create_execution_context()
    if context is None:
        raise EnvironmentMissing(
            "TensorRT has no memory to inspect the engine in; end other programs on this GPU"
        )
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            context.set_input_shape(name, profile.range_of(name).opt)
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    text: str = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def first_profile(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers without those that TensorRT built for other profiles than the first."""
    return [layer for layer in layers if not _LATER_PROFILE.search(str(layer.get("Name", "")))]


def read_layers(text: str) -> list[dict[str, Any]]:
    """The layers of the inspector's JSON; raises ``GateFailed`` if it has none, or names only."""
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise GateFailed(
            f"TensorRT's inspector gave no JSON of layers ({error}); report this version"
        ) from error
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        raise GateFailed("TensorRT's inspector gave names only; the plan was not built with detailed verbosity")
    return list(layers)


def layer_precision(layer: Mapping[str, Any]) -> LayerPrecision:
    """The precision in which a layer computes: the wider of its weights and its first input."""
    seen = computing_types(layer)
    return max(seen, key=_WIDTH.__getitem__) if seen else "unknown"


def computing_types(layer: Mapping[str, Any]) -> list[LayerPrecision]:
    """Types of a layer's weights and of its first input (or output, if it has none), where they are told."""
    weights = layer.get("Weights")
    weight = _type_in(str(weights.get("Type", ""))) if isinstance(weights, Mapping) else None
    inputs = layer.get("Inputs") or layer.get("Outputs") or [{}]
    return [each for each in (weight, _tensor_type(inputs[0])) if each is not None]


def output_types(layer: Mapping[str, Any]) -> list[LayerPrecision]:
    """Types of a layer's outputs, where they are told."""
    types = (_tensor_type(each) for each in layer.get("Outputs") or [])
    return [each for each in types if each is not None]


def _tensor_type(tensor: object) -> LayerPrecision | None:
    return _type_in(str(tensor.get("Format/Datatype", ""))) if isinstance(tensor, Mapping) else None


def _type_in(text: str) -> LayerPrecision | None:
    return next((precision for pattern, precision in _TYPES if pattern.search(text)), None)


def summarise(layers: Sequence[Mapping[str, Any]], flops: Mapping[str, int]) -> Precisions:
    """Layers and convolutions by precision; ``flops`` as ``convolution_flops`` gives them."""
    counted: dict[str, int] = {}
    for layer in layers:
        precision = layer_precision(layer)
        counted[precision] = counted.get(precision, 0) + 1
    of_node = by_node(layers)
    sums: dict[str, int] = {}
    wide = []
    for node, operations in sorted(flops.items(), key=lambda item: -item[1]):
        precision = _precision_of(of_node.get(node, []))
        sums[precision] = sums.get(precision, 0) + operations
        if precision in ("fp32", "unknown"):
            wide.append(node)
    return Precisions(counted, sums, tuple(wide))


def by_node(layers: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The layers that carry the name of each ONNX node."""
    of_node: dict[str, list[Mapping[str, Any]]] = {}
    for layer in layers:
        for node in _nodes_of(layer):
            of_node.setdefault(node, []).append(layer)
    return of_node


def _nodes_of(layer: Mapping[str, Any]) -> set[str]:
    """ONNX nodes of a layer, by its metadata or else by the parts of its fused name."""
    if named := onnx_nodes(str(layer.get("Metadata", ""))):
        return set(named)
    parts = re.split(r" \+ |, ", str(layer.get("Name", "")))
    return {part.strip() for part in parts} | {re.sub(r"^(\w+\()+|\)+$", "", part.strip()) for part in parts}


def _precision_of(layers: Sequence[Mapping[str, Any]]) -> LayerPrecision:
    """The precision of the layer that computes a node, among those that carry its name."""
    computing = [each for each in layers if not str(each.get("LayerType", "")).startswith(MOVERS)]
    weighted = [each for each in computing if isinstance(each.get("Weights"), Mapping)] or computing
    found = [layer_precision(each) for each in weighted]
    return max(found, key=_WIDTH.__getitem__) if found else "unknown"


def prove(precisions: Precisions, asked: Precision) -> None:
    """Raise ``GateFailed`` unless the plan has the precision that was asked for.

    90 % of the convolutions' operations must be in FP16 or INT8, and in INT8 engines some of them in INT8.
    """
    share = precisions.share("fp16", "int8")
    if asked == "int8" and not precisions.flops.get("int8"):
        raise GateFailed("INT8 was asked for and no convolution of the engine has it; no engine was written")
    if share < REQUIRED_SHARE:
        raise GateFailed(
            f"{asked.upper()} was asked for, but the engine has it in {share:.1%}"
            f" of its convolutions' operations, where {REQUIRED_SHARE:.0%} are required;"
            f" in float32 or unknown: {some(precisions.wide)}; no engine was written"
        )
