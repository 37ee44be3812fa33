"""An exported model as OpenVINO's IR: of standard operators, so that stock OpenVINO reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from pssdet.engines.ov.held import is_held, keep_products_apart
from pssdet.engines.ov.rules import (
    RULES,
    WITHOUT_BIAS,
    read_maps_in_float32,
    write_as_older,
    write_as_product,
    write_as_sum,
    write_out_bias,
)
from pssdet.errors import BadInput

if TYPE_CHECKING:
    import onnx

#: What layers compute in that are neither quantised nor held to float32: OpenVINO's INFERENCE_PRECISION_HINT.
ComputePrecision = Literal["f32", "bf16"]

#: Where the IR says that.
_COMPUTES_IN = ["pssdet", "computes_in"]


def to_openvino(model: onnx.ModelProto, taps: Iterable[str] = (), float32: Collection[str] = ()) -> Any:
    """The model as an ``openvino.Model`` with the exported inputs and outputs.

    OpenVINO's reader of ONNX knows no local functions: they are inlined. It has no rule for ``DeformConv``, and
    rules for two others that would not do here, see ``RULES``. Layers have the names of the nodes.

    Args:
        model: as exported or with a reduced precision written into it; left as it is.
        taps: intermediate tensors that keep their names, so that a session can return them.
        float32: nodes of trunk and head that ``save_ir`` will hold to float32.
    """
    import onnx
    import onnx.inliner
    import openvino
    from openvino.frontend.onnx import ConversionExtension

    outputs = {tensor.name for tensor in model.graph.output}
    named = onnx.ModelProto.FromString(model.SerializeToString())
    named.graph.output.extend(onnx.ValueInfoProto(name=name) for name in taps if name not in outputs)
    named = onnx.inliner.inline_local_functions(named)
    keep_products_apart(named, float32)
    producers = {name: node for node in named.graph.node for name in node.output}
    # Of boxes; those that take off the zero of a quantised tensor must stay.
    differences = {node.name for node in named.graph.node if node.op_type == "Sub" and is_held(node.name, ())}
    core = openvino.Core()
    for kind, rule in RULES.items():
        core.add_extension(ConversionExtension(kind, rule))
    converted = core.read_model(named.SerializeToString())
    for result in converted.get_results():
        names = result.output(0).get_names()
        maker = _maker_of(result.input_value(0))
        # OpenVINO has given it the name of the tensor.
        maker.get_node().set_friendly_name(_producer(producers, next(iter(names))).name)
        if not names & outputs:
            converted.remove_result(result)
            maker.get_tensor().add_names(names)
    converted.validate_nodes_and_infer_types()
    for node in converted.get_ops():
        kind = node.get_type_name()
        if node.get_friendly_name().startswith(WITHOUT_BIAS):  # as OpenVINO names one that had a bias
            (consumer,) = node.output(0).get_target_inputs()
            node.set_friendly_name(f"{consumer.get_node().get_friendly_name()}{WITHOUT_BIAS}")
        elif kind == "Add":
            write_out_bias(node)
        elif kind == "Divide":
            write_as_product(node)
        elif kind == "Subtract" and node.get_friendly_name() in differences:
            write_as_sum(node)
        elif kind == "Interpolate":
            write_as_older(node)
    return converted


def _maker_of(output: Any) -> Any:
    """The output, or what the ``Identity`` nodes that make it pass on: OpenVINO drops nodes of that kind."""
    while output.get_node().get_type_name() == "Identity":
        output = output.get_node().input_value(0)
    return output


def _producer(producers: Mapping[str, onnx.NodeProto], name: str) -> onnx.NodeProto:
    """The node that ``_maker_of`` finds, in the ONNX graph."""
    while (node := producers[name]).op_type == "Identity":
        name = node.input[0]
    return node


def save_ir(model: Any, path: Path, precision: ComputePrecision, float32: Collection[str] = ()) -> None:
    """Write an ``openvino.Model`` with float32 weights: ``path``, and the weights beside it as a ``.bin`` file.

    Args:
        path: of the XML file.
        precision: for ``compute_precision``. What is neither trunk nor head, the boxes above all, computes in
            float32 in either.
        float32: nodes of trunk and head that do, too, as for ``to_openvino``.

    Raises:
        BadInput: the files cannot be written.
    """
    import openvino

    if precision != "f32":
        read_maps_in_float32(model)
    model.set_rt_info(precision, _COMPUTES_IN)
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # it does not say why
        raise BadInput(
            f"OpenVINO cannot write the engine ({reason_of(error)}); is there space left in the output folder?"
        ) from error
    if precision != "f32":
        _hold_to_float32(path, float32)


def reason_of(error: RuntimeError) -> str:
    """The last line of what OpenVINO says; those before name its source files."""
    return str(error).strip().split("\n")[-1]


def compute_precision(model: Any) -> ComputePrecision:
    """The precision that ``save_ir`` wrote into the IR of an ``openvino.Model``."""
    value: ComputePrecision = model.get_rt_info(_COMPUTES_IN).value
    return value


def _hold_to_float32(path: Path, float32: Collection[str]) -> None:
    """Mark layers as ``precise``, an attribute of the IR for which the Python package has no function."""
    tree = ElementTree.parse(path)  # noqa: S314 - OpenVINO has just written it
    for layer in tree.iterfind("layers/layer"):
        if layer.get("type") != "Const" and is_held(layer.get("name", "").removesuffix(WITHOUT_BIAS), float32):
            if (info := layer.find("rt_info")) is None:
                info = ElementTree.Element("rt_info")
                layer.insert(1 if layer.find("data") is not None else 0, info)
            ElementTree.SubElement(info, "attribute", {"name": "precise", "version": "0"})
    tree.write(path, encoding="utf-8", xml_declaration=True)
