"""A plugin graph run node by node in ONNX Runtime, its plugins replaced by what they stand for.

Each plugin node is read by its contract alone, with the operators and functions that existed before there were
plugins: DeformConv after a Split and a Sigmoid, the model's own functions. The table of plugins names the
functions that they replace; nothing here knows how the rewrite works.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from pssdet.engines.trt.graph.plugins import PLUGINS

MODES = {1: "half_pixel", 0: "output_half_pixel"}


def run_plugin_graph(model, functions, inputs):
    """Every tensor of the graph by its name."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors |= {value.name: inputs[value.name] for value in model.graph.input}
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    for node in model.graph.node:
        values = [tensors[name] if name else None for name in node.input]
        if node.op_type == "PssDetDeformConv2d":
            results = [deform_conv(attributes(node), *values)]
        elif node.op_type in PLUGINS:
            results = detection(node, functions, values)
        else:
            results = run_node(node, values, opset)
        tensors |= dict(zip(node.output, results, strict=True))
    return tensors


def attributes(node):
    values = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    assert values.pop("plugin_namespace") == b"pssdet"
    assert values.pop("plugin_version") == b"1"
    return values


def deform_conv(given, x, packed, offset, *rest):
    rest = list(rest)
    bias = rest.pop(0) if given["has_bias"] else None
    mask = rest.pop(0) if given["has_mask"] else None
    assert rest == []
    assert offset.dtype == np.float32
    assert x.dtype == packed.dtype
    if given["raw_mask"]:
        third = offset.shape[1] // 3
        offset, logits = offset[:, : 2 * third], offset[:, 2 * third :]
        mask = 1 / (1 + np.exp(-logits))
    names = ["x", "w", "offset", "b" if bias is not None else "", "mask" if mask is not None else ""]
    standard = ("dilations", "group", "kernel_shape", "offset_group", "pads", "strides")
    node = helper.make_node("DeformConv", names, ["y"], **{name: given[name] for name in standard})
    floats = [
        None if value is None else value.astype(np.float32)
        for value in (x, unpacked(packed), offset, bias, mask)
    ]
    (y,) = run_node(node, floats, 19)
    return (np.maximum(y, 0) if given["relu"] else y).astype(x.dtype)


def unpacked(weights):
    return np.ascontiguousarray(np.moveaxis(weights, -1, 1))


def detection(node, functions, values):
    given = attributes(node)
    if "aligned" in given:
        given["coordinate_transformation_mode"] = MODES[given.pop("aligned")]
    call = helper.make_node(PLUGINS[node.op_type].function, node.input, node.output, domain="pssdet", **given)
    floats = [value.astype(np.float32) if value.dtype == np.float16 else value for value in values]
    results = run_node(call, floats, 19, functions)
    if node.op_type == "PssDetMultilevelRoiAlign":
        results = [results[0].astype(values[0].dtype)]
    return results


def run_node(node, values, opset, functions=()):
    """One node in a session of its own."""
    feed = {name: value for name, value in zip(node.input, values, strict=True) if name}
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in feed.items()}
    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("pssdet", 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(node.output), feed)
