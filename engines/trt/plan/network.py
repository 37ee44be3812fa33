"""TensorRT's network: parsed from ONNX, stages marked, its layers found by the ONNX nodes that they compute."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pssdet.errors import GateFailed

if TYPE_CHECKING:
    import onnx

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
#: Behind it 8.6 writes a node's documentation, and 10 the functions that the node came from.
_BEHIND_NAME = " | "
_MOST_ERRORS = 5


def onnx_nodes(text: str) -> list[str]:
    """Names of ONNX nodes in a layer's metadata: ``[ONNX Layer: name]``, or ``[ONNX Layer: name | ...]``."""
    return [found.partition(_BEHIND_NAME)[0] for found in _ONNX_LAYER.findall(text)]


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
        for tensor in outputs_of(layer):
            if tensor.name in wanted:
                network.mark_output(tensor)
                wanted.discard(tensor.name)
    if wanted:
        raise GateFailed(f"the graph has no tensor called {', '.join(sorted(wanted))}; export the model again")


class NodeLayers:
    """The layers of a network by the ONNX nodes that they compute.

    A layer says its node in its metadata, or has its name. What the parser adds between a node's tensors (the
    sum of a ``Gemm``, shuffles and casts) says nothing: it belongs to the node between whose tensors it lies.
    """

    def __init__(self, network: Any, graph: onnx.GraphProto) -> None:
        self._layers = list(_layers(network))
        names = {node.name for node in graph.node}
        self._said = [_named(layer, names) for layer in self._layers]
        self._maker = {
            tensor.name: index for index, layer in enumerate(self._layers) for tensor in outputs_of(layer)
        }
        self._known = {name for node in graph.node for name in (*node.input, *node.output)}

    def of(self, node: onnx.NodeProto) -> list[Any]:
        """The layers of a node in the network's order; none if it was folded or passes on what it is given."""
        found = {index for index, said in enumerate(self._said) if node.name in said}
        waiting = [*node.output, *self._inner_inputs(found)]
        visited: set[str] = set()
        while waiting:
            name = waiting.pop()
            index = self._maker.get(name)
            if index is None or name in visited:
                continue
            visited.add(name)
            if not self._said[index] or node.name in self._said[index]:
                found.add(index)
                waiting += self._inner_inputs({index})
        return [self._layers[index] for index in sorted(found)]

    def _inner_inputs(self, indices: Iterable[int]) -> list[str]:
        """Names of the layers' inputs that are no tensors of the ONNX graph."""
        inputs = (tensor for index in indices for tensor in inputs_of(self._layers[index]))
        return [tensor.name for tensor in inputs if tensor.name not in self._known]


def _named(layer: Any, names: set[str]) -> frozenset[str]:
    """The ONNX nodes of a layer, by its metadata or else by its name."""
    said = set(onnx_nodes(getattr(layer, "metadata", "") or "")) & names
    return frozenset(said or {layer.name} & names)


def _layers(network: Any) -> Iterable[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))


def outputs_of(layer: Any) -> list[Any]:
    """The output tensors of a layer."""
    return [layer.get_output(index) for index in range(layer.num_outputs)]


def inputs_of(layer: Any) -> list[Any]:
    """The input tensors of a layer; those left out are missing."""
    tensors = (layer.get_input(index) for index in range(layer.num_inputs))
    return [tensor for tensor in tensors if tensor is not None]
