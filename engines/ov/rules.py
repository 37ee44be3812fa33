"""Rules for ONNX operators that OpenVINO's reader lacks, or has in a form that cannot stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What OpenVINO appends to the name of an ONNX node with a bias, which becomes two.
WITHOUT_BIAS = "/WithoutBiases"

_IMAGE_AND_FACTORS = 2


def _deformable_convolution(node: Any) -> list[Any]:
    """ONNX ``DeformConv`` (opset 19) in OpenVINO's operators.

    Both sample with zeros outside of the map, bilinearly up to one pixel beyond its edge, which OpenVINO calls
    ``bilinear_interpolation_pad``. ONNX adds a bias, OpenVINO does not.
    """
    from openvino import opset8

    inputs = [node.get_input(index) for index in range(node.get_input_size())]
    data, weights, offsets = inputs[:3]
    bias, mask = (*(None if _left_out(each) else each for each in inputs[3:]), None, None)[:2]
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
        result.set_friendly_name(WITHOUT_BIAS)  # with a number behind; replaced where the sum has its name
        result = opset8.add(result, opset8.reshape(bias, np.array([1, -1, 1, 1], np.int64), special_zero=False))
    outputs: list[Any] = result.outputs()
    return outputs


def _left_out(given: Any) -> bool:
    """Whether an optional input has no name, where others follow."""
    kind: str = given.get_node().get_type_name()
    return kind == "NullNode"


def _gather(node: Any) -> list[Any]:
    """ONNX ``Gather`` of rows as ``GatherND``.

    OpenVINO replaces its own ``Gather`` by an older one when it compiles, but then the layer is not held to
    float32 any more, and rounds the boxes.
    """
    from openvino import opset8

    data, indices = node.get_input(0), node.get_input(1)
    axis = node.get_attribute("axis", 0)
    if axis or indices.get_partial_shape().rank != 1 or not data.get_element_type().is_real():
        outputs: list[Any] = opset8.gather(data, indices, np.int64(axis)).outputs()
        return outputs
    return [opset8.gather_nd(data, opset8.unsqueeze(indices, np.int64(-1))).output(0)]


def _max_pool(node: Any) -> list[Any]:
    """ONNX ``MaxPool`` of maps as that of opset 1, for the same reason as ``Gather``."""
    from openvino import opset1

    kernel = node.get_attribute("kernel_shape")
    ones = [1] * len(kernel)
    if node.get_attribute("dilations", ones) != ones or node.get_attribute("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError("a pooling with dilations or automatic padding has no rule")
    pads = node.get_attribute("pads", [0] * (2 * len(kernel)))
    result = opset1.max_pool(
        node.get_input(0),
        node.get_attribute("strides", ones),
        pads[: len(kernel)],
        pads[len(kernel) :],
        kernel,
        "ceil" if node.get_attribute("ceil_mode", 0) else "floor",
    )
    outputs: list[Any] = result.outputs()
    return outputs


#: By operator; each takes OpenVINO's ``NodeContext`` and gives the outputs.
RULES: dict[str, Callable[[Any], list[Any]]] = {
    "DeformConv": _deformable_convolution,
    "Gather": _gather,
    "MaxPool": _max_pool,
}


def write_out_bias(add: Any) -> None:
    """Give the bias of a convolution the shape [1, C, 1, 1], which the graph computes otherwise.

    OpenVINO then makes one layer of the two, also where convolutions share a bias.
    """
    from openvino import opset8

    if not any(value.get_node().get_friendly_name().endswith(WITHOUT_BIAS) for value in add.input_values()):
        return
    for given in add.inputs():
        reshape = given.get_source_output().get_node()
        if reshape.get_type_name() == "Reshape":
            values = reshape.input_value(0).get_node().data
            given.replace_source_output(opset8.constant(values.reshape(1, -1, 1, 1)).output(0))


def write_as_older(interpolate: Any) -> None:
    """Replace the enlargement by constant factors with that of opset 4, for the same reason as ``_gather``."""
    import openvino.utils
    from openvino import opset10

    attributes = interpolate.get_attributes()
    if attributes["shape_calculation_mode"] != "scales" or interpolate.get_input_size() != _IMAGE_AND_FACTORS:
        return
    image, factors = interpolate.input_values()
    ignored = np.ones(factors.get_shape(), np.int32)  # the size, which factors decide
    older = opset10.interpolate(image, opset10.constant(ignored), factors, **attributes)
    older.set_friendly_name(interpolate.get_friendly_name())
    openvino.utils.replace_node(interpolate, older)


def write_as_product(divide: Any) -> None:
    """Replace the division by a power of two with a product, which has the same value.

    OpenVINO does so when it compiles, but then the layer is not held to float32 any more, and rounds the boxes.
    """
    import openvino.utils
    from openvino import opset8

    divisor = _constant(divide.input_value(1))
    if divisor is None or not np.issubdtype(divisor.dtype, np.floating):
        return
    mantissas, _ = np.frexp(divisor)
    if (mantissas == 0.5).all():
        product = opset8.multiply(divide.input_value(0), opset8.constant(1 / divisor))
        product.set_friendly_name(divide.get_friendly_name())
        openvino.utils.replace_node(divide, product)


def write_as_sum(subtract: Any) -> None:
    """Replace the difference of real numbers with the sum of one and the other's negative: the same value.

    OpenVINO does so when it compiles, with the same consequence as in ``write_as_product``; and it makes a
    difference of that sum first, but for a layer between them: the larger of the negative and -inf.
    """
    import openvino.utils
    from openvino import opset8

    first, second = subtract.input_values()
    if not second.get_element_type().is_real():
        return
    product = opset8.multiply(second, opset8.constant(np.float32(-1)))
    product.set_friendly_name(f"{subtract.get_friendly_name()}/product")
    negative = opset8.maximum(product, opset8.constant(np.float32(-np.inf)))
    negative.set_friendly_name(f"{subtract.get_friendly_name()}/negative")
    total = opset8.add(first, negative)
    total.set_friendly_name(subtract.get_friendly_name())
    openvino.utils.replace_node(subtract, total)


def read_maps_in_float32(model: Any) -> None:
    """Put a layer in front of the RoIAligns of each map that gives what it gets: the larger of it and -inf.

    A RoIAlign that is held to float32 and reads a map in bfloat16 has it converted to planes of one channel,
    for which OpenVINO's kernel takes many times as long. This layer, held as well, converts the map instead,
    and leaves the channels of a pixel together.
    """
    from openvino import opset8

    wide: dict[Any, Any] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ROIAlign":
            source = node.input_value(0)
            key = (source.get_node().get_name(), source.get_index())
            if key not in wide:
                wide[key] = opset8.maximum(source, opset8.constant(np.float32(-np.inf)))
                wide[key].set_friendly_name(f"{node.get_friendly_name()}/map")
            node.input(0).replace_source_output(wide[key].output(0))


def _constant(output: Any) -> NDArray[Any] | None:
    """The value of a constant, of one converted to another type, or of a part of one."""
    node = output.get_node()
    if node.get_type_name() == "Constant":
        return np.asarray(node.data)
    if node.get_type_name() not in ("Convert", "Split"):
        return None
    whole = _constant(node.input_value(0))
    if whole is None:
        return None
    if node.get_type_name() == "Convert":
        converted: NDArray[Any] = whole.astype(output.get_element_type().to_dtype())
        return converted
    axis = node.input_value(1).get_node().data.item()
    parts: list[NDArray[Any]] = np.split(whole, node.get_output_size(), axis)
    return parts[int(output.get_index())]
