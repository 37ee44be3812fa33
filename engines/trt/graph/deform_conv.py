"""DeformConv as the plugin PssDetDeformConv2d, together with what surrounds it in these detectors.

A detector's DCNv2 layer is Conv -> Split into offsets and masks -> Sigmoid of the masks -> DeformConv -> Relu. The
plugin takes the convolution's output as it is: ``raw_mask`` means that masks before their sigmoid are the last third of
the channels, which is the order that Split has; and it applies the Relu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from pssdet.engines.precision.region import is_stage, replace_nodes
from pssdet.engines.trt.graph.nodes import Attributes, attributes_of, integers, parameters_of, refuse
from pssdet.engines.trt.graph.plugins import DEFORM_CONV


def replace_deform_convs(graph: onnx.GraphProto) -> None:
    """Make every DeformConv a plugin node, in place; it keeps the DeformConv's name.

    Raises:
        BadInput: one is not 2-D or has weights that are not constant.
    """
    context = _Context.of(graph)
    replaced: dict[str, onnx.NodeProto] = {}
    gone: set[str] = set()
    for node in graph.node:
        if node.op_type == "DeformConv":
            replaced[node.name], swallowed = _plugin(graph, node, context)
            gone |= swallowed
    replace_nodes(graph, [replaced.get(node.name, node) for node in graph.node if node.name not in gone])


@dataclass(frozen=True)
class _Context:
    parameters: dict[str, onnx.TensorProto]
    producers: dict[str, onnx.NodeProto]
    readers: dict[str, list[onnx.NodeProto]]
    outputs: frozenset[str]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _Context:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        producers = {name: node for node in graph.node for name in node.output}
        outputs = frozenset(output.name for output in graph.output)
        return cls(parameters_of(graph), producers, readers, outputs)

    def private(self, name: str) -> bool:
        """Whether exactly one node reads this tensor, which is neither an output nor a stage."""
        return len(self.readers.get(name, ())) == 1 and name not in self.outputs and not is_stage(name)


def _plugin(graph: onnx.GraphProto, node: onnx.NodeProto, context: _Context) -> tuple[onnx.NodeProto, set[str]]:
    """The plugin node, and the names of the nodes that it replaces beside the DeformConv."""
    x, weight, offset, bias, mask = [*node.input, "", ""][:5]
    attributes = _convolution(node, context.parameters.get(weight))
    swallowed: set[str] = set()
    raw = _raw_mask(offset, mask, attributes, context)
    if raw:
        offset, mask = raw[0].input[0], ""
        swallowed |= {each.name for each in raw}
    relu = _relu(node.output[0], context)
    if relu:
        swallowed.add(relu.name)
    flags = {"has_bias": bias, "has_mask": mask, "raw_mask": raw, "relu": relu, "half_offsets": None}
    attributes |= {name: int(bool(value)) for name, value in flags.items()}
    inputs = [x, _packed(graph, context.parameters, weight), offset, bias, mask]
    outputs = list((relu or node).output)
    return DEFORM_CONV.node([name for name in inputs if name], outputs, node.name, attributes), swallowed


def _convolution(node: onnx.NodeProto, weight: onnx.TensorProto | None) -> Attributes:
    """Every attribute of the convolution, ONNX's defaults included."""
    if weight is None:
        raise refuse(node, "its weights are not a constant")
    if len(weight.dims) != 4:
        raise refuse(node, f"its weights have {len(weight.dims)} dimensions, 4 are needed")
    given = attributes_of(node)
    return {
        "dilations": list(given.get("dilations", [1, 1])),
        "group": given.get("group", 1),
        "kernel_shape": list(weight.dims[2:]),
        "offset_group": given.get("offset_group", 1),
        "pads": list(given.get("pads", [0, 0, 0, 0])),
        "strides": list(given.get("strides", [1, 1])),
    }


def _raw_mask(
    offset: str, mask: str, attributes: Attributes, context: _Context
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Split and the Sigmoid between a predictor and its DeformConv, if nothing else uses them."""
    sigmoid = context.producers.get(mask)
    if sigmoid is None or sigmoid.op_type != "Sigmoid":
        return None
    split = context.producers.get(offset)
    if split is None or split.op_type != "Split" or list(split.output) != [offset, sigmoid.input[0]]:
        return None
    taps = int(np.prod(attributes["kernel_shape"])) * attributes["offset_group"]
    sizes = context.parameters.get(split.input[1]) if len(split.input) == 2 else None
    halves = sizes is not None and integers(sizes) == [2 * taps, taps] and attributes_of(split).get("axis", 0) == 1
    alone = all(context.private(name) for name in (offset, sigmoid.input[0], mask))
    return (split, sigmoid) if halves and alone else None


def _relu(output: str, context: _Context) -> onnx.NodeProto | None:
    """The Relu that alone reads the convolution's output, if there is one."""
    readers = context.readers.get(output, [])
    if len(readers) == 1 and readers[0].op_type == "Relu" and context.private(output):
        return readers[0]
    return None


def _packed(graph: onnx.GraphProto, parameters: dict[str, onnx.TensorProto], name: str) -> str:
    """Name of the weights in the kernel's order, [O, C / group, kh, kw] to [O, kh, kw, C / group]."""
    packed = f"{name}:packed"
    if packed not in parameters:
        oihw = numpy_helper.to_array(parameters[name])
        tensor = numpy_helper.from_array(np.ascontiguousarray(oihw.transpose(0, 2, 3, 1)), packed)
        graph.initializer.append(tensor)
        parameters[packed] = tensor
    return packed
