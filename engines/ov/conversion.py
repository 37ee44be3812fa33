"""An exported model as OpenVINO's IR: of standard operators, so that stock OpenVINO reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import numpy as np

from pssdet.engines.ov.products import HELD, keep_products_apart

if TYPE_CHECKING:
    import onnx

#: What layers compute in that are neither quantised nor held to float32: OpenVINO's INFERENCE_PRECISION_HINT.
ComputePrecision = Literal["f32", "bf16"]

#: Where the IR says that.
_COMPUTES_IN = ["pssdet", "computes_in"]

#: What OpenVINO appends to the name of an ONNX node with a bias, which becomes two.
WITHOUT_BIAS = "/WithoutBiases"


def to_openvino(model: onnx.ModelProto, taps: Iterable[str] = (), float32: Collection[str] = ()) -> Any:
    """The model as an ``openvino.Model`` with the exported inputs and outputs.

    OpenVINO's reader of ONNX knows no local functions and has no rule for ``DeformConv``: the functions are
    inlined, and the operator becomes ``DeformableConvolution`` of opset 8.

    Args:
        model: as exported or with a reduced precision written into it; left as it is.
        taps: intermediate tensors that keep their names, so that a session can return them.
        float32: nodes that ``save_ir`` will hold to float32.
    """
    import onnx
    import onnx.inliner
    import openvino
    from openvino.frontend.onnx import ConversionExtension

    outputs = {tensor.name for tensor in model.graph.output}
    named = onnx.ModelProto.FromString(model.SerializeToString())
    keep_products_apart(named, float32)
    named.graph.output.extend(onnx.ValueInfoProto(name=name) for name in taps if name not in outputs)
    core = openvino.Core()
    core.add_extension(ConversionExtension("DeformConv", _deformable_convolution))
    converted = core.read_model(onnx.inliner.inline_local_functions(named).SerializeToString())
    for result in converted.get_results():
        names = result.output(0).get_names()
        if not names & outputs:
            converted.remove_result(result)
            _maker_of(result.input_value(0)).get_tensor().add_names(names)
    converted.validate_nodes_and_infer_types()
    for node in converted.get_ops():
        if node.get_type_name() == "DeformableConvolution":  # as OpenVINO names a convolution that had a bias
            (consumer,) = node.output(0).get_target_inputs()
            node.set_friendly_name(f"{consumer.get_node().get_friendly_name()}{WITHOUT_BIAS}")
    return converted


def _maker_of(output: Any) -> Any:
    """The output, or what the ``Identity`` nodes that make it pass on: OpenVINO drops nodes of that kind."""
    while output.get_node().get_type_name() == "Identity":
        output = output.get_node().input_value(0)
    return output


def _deformable_convolution(node: Any) -> list[Any]:
    """ONNX ``DeformConv`` (opset 19) in OpenVINO's operators.

    Both sample with zeros outside of the map, bilinearly up to one pixel beyond its edge, which OpenVINO calls
    ``bilinear_interpolation_pad``. ONNX adds a bias, OpenVINO does not.
    """
    from openvino import opset8

    inputs = [node.get_input(index) for index in range(node.get_input_size())]
    data, weights, offsets = inputs[:3]
    bias, mask = (*inputs[3:], None, None)[:2]
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    result = opset8.deformable_convolution(
        data,
        offsets,
        weights,
        node.get_attribute("strides", [1, 1]),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations", [1, 1]),
        mask=mask,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,
    )
    if bias is not None:
        result = opset8.add(result, opset8.reshape(bias, np.array([1, -1, 1, 1], np.int64), special_zero=False))
    outputs: list[Any] = result.outputs()
    return outputs


def save_ir(model: Any, path: Path, precision: ComputePrecision, float32: Collection[str] = ()) -> None:
    """Write an ``openvino.Model`` with float32 weights: ``path``, and the weights beside it as a ``.bin`` file.

    Args:
        path: of the XML file.
        precision: for ``compute_precision``.
        float32: names of ONNX nodes that compute in float32 whatever the precision is, as for ``to_openvino``.
    """
    import openvino

    model.set_rt_info(precision, _COMPUTES_IN)
    openvino.save_model(model, path, compress_to_fp16=False)
    if float32:
        _hold_to_float32(path, float32)


def compute_precision(model: Any) -> ComputePrecision:
    """The precision that ``save_ir`` wrote into the IR of an ``openvino.Model``."""
    value: ComputePrecision = model.get_rt_info(_COMPUTES_IN).value
    return value


def _hold_to_float32(path: Path, nodes: Collection[str]) -> None:
    """Mark layers as ``precise``, an attribute of the IR for which the Python package has no function."""
    tree = ElementTree.parse(path)  # noqa: S314 - OpenVINO has just written it
    for layer in tree.iterfind("layers/layer"):
        name = layer.get("name", "").removesuffix(WITHOUT_BIAS)
        if name in nodes or name.startswith(HELD):
            if (info := layer.find("rt_info")) is None:
                info = ElementTree.Element("rt_info")
                layer.insert(1 if layer.find("data") is not None else 0, info)
            ElementTree.SubElement(info, "attribute", {"name": "precise", "version": "0"})
    tree.write(path, encoding="utf-8", xml_declaration=True)
