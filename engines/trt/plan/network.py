"""TensorRT's network: parsed from ONNX, stages marked, layers constrained to float32."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from pssdet.errors import GateFailed

if TYPE_CHECKING:
    import onnx

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")

#: Layers that compute nothing, or whose purpose is their type.
_UNTYPED = ("CONSTANT", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE", "ASSERTION")
_MOST_ERRORS = 5


def onnx_nodes(text: str) -> list[str]:
    """Names of ONNX nodes in a layer's metadata, which has ``[ONNX Layer: name]``."""
    return _ONNX_LAYER.findall(text)


def parse(trt: Any, builder: Any, flags: int, content: bytes, logger: Any) -> Any:
    """The network of a serialised ONNX model, and its parser, which owns the weights.

    Raises:
        GateFailed: TensorRT cannot take the graph; the message lists the parser's errors.
    """
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = [_describe(parser.get_error(index)) for index in range(parser.num_errors)]
        listed = "; ".join(errors[:_MOST_ERRORS]) or "no reason given"
        more = f"; and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
        raise GateFailed(f"TensorRT {trt.__version__} cannot take this graph: {listed}{more}")
    return network, parser


def _describe(error: Any) -> str:
    name = getattr(error, "node_name", None)  # since version 10
    node = f"node {name()}" if callable(name) and name() else f"node {error.node()}"
    return f"{node}: {error.desc().strip()}"


def mark_stages(network: Any, names: Iterable[str]) -> None:
    """Make intermediate tensors outputs of the network; raises ``GateFailed`` if one is missing."""
    wanted = set(names) - {network.get_output(index).name for index in range(network.num_outputs)}
    for layer in _layers(network):
        for tensor in _outputs(layer):
            if tensor.name in wanted:
                network.mark_output(tensor)
                wanted.discard(tensor.name)
    if wanted:
        raise GateFailed(f"the graph has no tensor called {', '.join(sorted(wanted))}; export the model again")


def constrain_to_float32(trt: Any, network: Any, names: AbstractSet[str]) -> set[str]:
    """Constrain the layers of these ONNX nodes to float32; returns the nodes that have any."""
    found: set[str] = set()
    for layer in _layers(network):
        nodes = onnx_nodes(getattr(layer, "metadata", "") or "") or [layer.name]
        named = names & set(nodes)
        found |= named
        if not named or layer.type.name.startswith(_UNTYPED):
            continue
        floats = [
            index
            for index, tensor in enumerate(_outputs(layer))
            if tensor.dtype in (trt.float32, trt.float16) and not tensor.is_shape_tensor
        ]
        # A plugin with integer outputs chooses its types itself.
        if not floats or (layer.type.name.startswith("PLUGIN") and len(floats) < layer.num_outputs):
            continue
        layer.precision = trt.float32
        for index in floats:
            layer.set_output_type(index, trt.float32)
    return found


def check_constrained(model: onnx.ModelProto, missing: AbstractSet[str]) -> None:
    """Raise ``GateFailed`` for a convolution without a layer; other nodes may be folded."""
    if convolutions := [
        node.name for node in model.graph.node if node.op_type == "Conv" and node.name in missing
    ]:
        named = ", ".join(convolutions)
        raise GateFailed(
            f"TensorRT's network has no layer for {named}, to be held to float32; take --strongly-typed"
        )


def _layers(network: Any) -> Iterable[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _outputs(layer: Any) -> list[Any]:
    return [layer.get_output(index) for index in range(layer.num_outputs)]
