"""Nodes held to float32 in a network whose builder chooses types: what is set on which layer, or why nothing.

With ``OBEY_PRECISION_CONSTRAINTS`` a build fails where no kernel has what was set. So no more is set than keeps
values from being rounded:

- A layer that computes floats gets the precision float32 and float32 outputs.
- A layer that moves floats (shuffles, ``TopK``, ``Where``) gets float32 outputs and no precision: what it gives
  out it has taken in, so the type of its output says all. Without that type the builder may move coordinates in
  half precision, which rounds those beyond 2048 to even pixels.
- A layer that gives integers or booleans gets nothing: TensorRT refuses a float type of the second output of
  ``TopK`` and of shape tensors (``ILayer::setOutputType`` in NvInfer.h).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NamedTuple

from pssdet.engines.trt.plan.network import NodeLayers, outputs_of
from pssdet.errors import GateFailed, some

if TYPE_CHECKING:
    import onnx

    from pssdet.engines.trt.graph.types import Types

COMPUTED = "computes in float32"
MOVED = "moves float32"
#: Why a node needs nothing, or takes nothing.
NO_FLOAT = "no float output"
CAST = "a cast: its type is its purpose"
PLUGIN = "a plugin with integer outputs: it chooses its types"
IDENTITY = "an identity: it has no layer"
FOLDED = "folded: its value is known"
NOT_SETTABLE = "no layer whose type can be set"
_LOST = "lost"

#: ONNX operators whose float output holds values of the input.
_MOVING = frozenset(
    {
        *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad", "Reshape"),
        *("Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "Where"),
    }
)
#: Layers (``trt.LayerType``) that do the same.
_MOVING_LAYERS = frozenset(
    {
        *("CONCATENATION", "GATHER", "PADDING", "REVERSE_SEQUENCE", "SCATTER", "SELECT", "SHUFFLE", "SLICE"),
        *("SQUEEZE", "TOPK", "UNSQUEEZE"),
    }
)
#: Layers that compute nothing, or whose purpose is their type.
_UNTYPED = frozenset({"ASSERTION", "CAST", "CONSTANT", "DEQUANTIZE", "IDENTITY", "QUANTIZE", "SHAPE"})
_CASTS = frozenset({"Cast", "CastLike", "DequantizeLinear"})


class Held(NamedTuple):
    """What became of the nodes that were to stay in float32; each stands in one place.

    Attributes:
        computed: nodes whose layers were given the precision float32.
        moved: nodes whose layers were given float32 outputs alone.
        exempt: nodes that were given nothing, by the reason.
    """

    computed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    exempt: Mapping[str, tuple[str, ...]] = {}


def hold_in_float32(trt: Any, network: Any, model: onnx.ModelProto, names: AbstractSet[str]) -> Held:
    """Constrain the layers of these nodes to float32.

    Args:
        model: the ONNX model that the network was parsed from.

    Raises:
        GateFailed: a node that computes floats has no layer.
    """
    from pssdet.engines.trt.graph.types import tensor_types

    graph = model.graph
    layers, types = NodeLayers(network, graph), tensor_types(model)
    constants = {tensor.name for tensor in graph.initializer}
    outcomes: dict[str, list[str]] = {}
    for node in graph.node:
        if node.name in names:
            outcome = _exemption(node, types) or _hold(trt, node, layers.of(node), constants)
            outcomes.setdefault(outcome, []).append(node.name)
    if lost := outcomes.pop(_LOST, []):
        raise GateFailed(
            f"TensorRT's network has no layer for {some(lost)}, to be held to float32;"
            " take --precision-route typed, which 9.1 is the first to have"
        )
    return _sorted(outcomes)


def expected_to_hold(model: onnx.ModelProto, names: AbstractSet[str]) -> Held:
    """What ``hold_in_float32`` would do if each node had one layer of its kind; there is no network yet."""
    from pssdet.engines.trt.graph.types import tensor_types

    types = tensor_types(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    outcomes: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.name in names:
            kind = MOVED if node.op_type in _MOVING else COMPUTED
            known = FOLDED if _is_known(node, constants) else ""
            outcomes.setdefault(_exemption(node, types) or known or kind, []).append(node.name)
    return _sorted(outcomes)


def _sorted(outcomes: dict[str, list[str]]) -> Held:
    computed, moved = (tuple(outcomes.pop(each, ())) for each in (COMPUTED, MOVED))
    return Held(computed, moved, {reason: tuple(nodes) for reason, nodes in outcomes.items()})


def _is_known(node: onnx.NodeProto, constants: AbstractSet[str]) -> bool:
    return all(name in constants for name in node.input if name)


def _exemption(node: onnx.NodeProto, types: Types) -> str:
    """Why a node needs no constraint, whatever its layers are; empty if it may need one."""
    from onnx import TensorProto

    from pssdet.engines.trt.graph.plugins import DOMAIN

    floats = [name for name in node.output if name and types[name] in (TensorProto.FLOAT, TensorProto.FLOAT16)]
    if not floats:
        return NO_FLOAT
    if node.domain == DOMAIN and len(floats) < len(node.output):
        return PLUGIN
    return CAST if node.op_type in _CASTS else ""


def _hold(trt: Any, node: onnx.NodeProto, layers: list[Any], constants: AbstractSet[str]) -> str:
    """Constrain the layers of a node; says what became of it."""
    done = {_constrain(trt, layer) for layer in layers}
    if done - {""}:
        return COMPUTED if COMPUTED in done else MOVED
    if _is_known(node, constants) or (layers and all(layer.type.name == "CONSTANT" for layer in layers)):
        return FOLDED
    if layers:
        return NOT_SETTABLE
    return IDENTITY if node.op_type in _MOVING else _LOST


def _constrain(trt: Any, layer: Any) -> str:
    """Constrain a layer to float32; says how, empty if it takes no type."""
    outputs = outputs_of(layer)
    floats = [
        index
        for index, tensor in enumerate(outputs)
        if tensor.dtype in (trt.float32, trt.float16) and not tensor.is_shape_tensor
    ]
    kind = layer.type.name
    if not floats or kind in _UNTYPED or (kind.startswith("PLUGIN") and len(floats) < len(outputs)):
        return ""
    moves = kind in _MOVING_LAYERS
    if not moves:
        layer.precision = trt.float32
    for index in floats:
        layer.set_output_type(index, trt.float32)
    return MOVED if moves else COMPUTED
