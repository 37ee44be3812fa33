"""What TensorRT's parsers do not take is found, each for its own reason."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from parser_operators import unsupported

from pssdet.engines.trt.graph.types import tensor_types
from pssdet.errors import BadInput

FLOAT, HALF, INT32, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)
PLUGIN = {"plugin_namespace": "pssdet", "plugin_version": "1"}


def model_of(node, types, parameters=None, opset=17):
    node.name = "n"
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (parameters or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("trt.plugins", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def node(kind, inputs, outputs="y", **attributes):
    return helper.make_node(kind, inputs.split(","), outputs.split(","), **attributes)


def plugin(kind, inputs, outputs="y", **attributes):
    return helper.make_node(
        kind, inputs.split(","), outputs.split(","), domain="trt.plugins", **{**PLUGIN, **attributes}
    )


NMS = "boxes,scores,count"


@pytest.mark.parametrize(
    ("made", "types", "parameters", "reason"),
    [
        (
            node("DeformConv", "x,w,o"),
            {"x": FLOAT, "w": FLOAT, "o": FLOAT},
            {},
            "not an operator that every parser has",
        ),
        (node("NonZero", "x"), {"x": FLOAT}, {}, "not an operator that every parser has"),
        (node("ReduceSum", "x,a"), {"x": INT32}, {"a": [1]}, "its data is INT32"),
        (node("ReduceSum", "x,a"), {"x": FLOAT, "a": INT64}, {}, "its input 1 is not a constant"),
        (node("TopK", "x,k", "y,i"), {"x": FLOAT, "k": INT64}, {}, "its input 1 is not a constant"),
        (node("TopK", "x,k", "y,i"), {"x": FLOAT}, {"k": [4000]}, "at most 3840"),
        (node("TopK", "x,k", "y,i", sorted=0), {"x": FLOAT}, {"k": [4]}, "must be sorted"),
        (node("MaxPool", "x", "y,i", kernel_shape=[2, 2]), {"x": FLOAT}, {}, "its indices are asked for"),
        (node("Resize", "x,,s", mode="cubic"), {"x": FLOAT}, {"s": np.float32([1, 1])}, "mode is cubic"),
        (node("Add", "x,x"), {"x": TensorProto.DOUBLE}, {}, "its data is DOUBLE"),
        (
            node("Add", "x,z"),
            {"x": FLOAT, "z": HALF},
            {},
            "cannot take these types together: x FLOAT, z FLOAT16",
        ),
        (node("Relu", "q"), {"x": FLOAT}, {}, "reads q, which nothing before it makes"),
        (
            helper.make_node("Other", ["x"], ["y"], domain="mine"),
            {"x": FLOAT},
            {},
            "an operator of domain mine",
        ),
        (plugin("PssDetSoftNms", "x"), {"x": FLOAT}, {}, "no plugin of this project"),
        (plugin("PssDetMulticlassNms", NMS, plugin_version="2"), {}, {}, r"\('pssdet', '2'\)"),
        (plugin("PssDetMulticlassNms", "boxes,,count"), {}, {}, "cannot be left out"),
        (
            plugin("PssDetMulticlassNms", NMS, "b,s,l,c"),
            {"boxes": FLOAT, "scores": HALF, "count": INT32},
            {},
            "cannot take these types together: boxes FLOAT, scores FLOAT16, count INT32",
        ),
    ],
)
def test_what_a_parser_lacks_is_named(made, types, parameters, reason):
    (line,) = unsupported(model_of(made, types, parameters))
    with pytest.raises(BadInput, match=reason):
        raise BadInput(line)


@pytest.mark.parametrize(
    ("made", "types", "parameters"),
    [
        (node("ReduceSum", "x,a"), {"x": FLOAT}, {"a": [1]}),
        (node("TopK", "x,k", "y,i"), {"x": FLOAT}, {"k": [3840]}),
        (node("Where", "c,x,z"), {"c": BOOL, "x": INT32, "z": INT32}, {}),
        (node("And", "c,d"), {"c": BOOL, "d": BOOL}, {}),
        (node("GatherElements", "x,i"), {"x": INT32, "i": INT64}, {}),
        (plugin("PssDetMulticlassNms", NMS, "b,s,l,c"), {"boxes": FLOAT, "scores": FLOAT, "count": INT32}, {}),
    ],
)
def test_what_every_parser_has_is_fine(made, types, parameters):
    assert unsupported(model_of(made, types, parameters)) == []


def test_functions_and_later_opsets_are_named():
    model = model_of(node("Relu", "x"), {"x": FLOAT}, opset=19)
    model.functions.append(helper.make_function("pssdet", "F", ["x"], ["y"], [], [helper.make_opsetid("", 19)]))
    assert unsupported(model) == [
        "function F: only parsers from 9.0 on read functions",
        "opset 19: TensorRT 8.6 reads operators as of 17",
    ]


DEFORM = {"has_bias": 1, "has_mask": 0, "half_offsets": 0}


@pytest.mark.parametrize("kind", [FLOAT, HALF])
def test_types_of_plugins_follow_their_data(kind):
    types = {"x": kind, "w": kind, "o": FLOAT, "b": FLOAT}
    assert tensor_types(model_of(plugin("PssDetDeformConv2d", "x,w,o,b", **DEFORM), types))["y"] == kind
    types = {"p": kind, "q": kind, "r": FLOAT}
    assert tensor_types(model_of(plugin("PssDetMultilevelRoiAlign", "p,q,r"), types))["y"] == kind
    types = {"s": kind, "d": kind, "size": FLOAT}
    found = tensor_types(model_of(plugin("PssDetGenerateProposals", "s,d,size", "p,v,c"), types))
    assert (found["p"], found["v"], found["c"]) == (FLOAT, FLOAT, INT32)


@pytest.mark.parametrize(
    ("types", "changes"),
    [
        ({"x": HALF, "w": FLOAT, "o": FLOAT, "b": FLOAT}, {}),
        ({"x": HALF, "w": HALF, "o": HALF, "b": FLOAT}, {}),
        ({"x": HALF, "w": HALF, "o": FLOAT, "b": FLOAT}, {"half_offsets": 1}),
        ({"x": HALF, "w": HALF, "o": FLOAT, "b": HALF}, {}),
        ({"x": INT32, "w": INT32, "o": FLOAT, "b": FLOAT}, {}),
    ],
)
def test_types_that_a_deformable_convolution_does_not_take(types, changes):
    with pytest.raises(BadInput, match="cannot take these types together"):
        tensor_types(model_of(plugin("PssDetDeformConv2d", "x,w,o,b", **{**DEFORM, **changes}), types))


def test_outputs_are_of_the_declared_type():
    model = model_of(node("Relu", "x"), {"x": HALF})
    assert tensor_types(model)["y"] == HALF
    model.graph.output[0].type.tensor_type.elem_type = FLOAT
    with pytest.raises(BadInput, match="output y is declared FLOAT"):
        tensor_types(model)


@pytest.mark.parametrize(
    ("made", "types", "expected"),
    [
        (node("Greater", "x,x"), {"x": FLOAT}, BOOL),
        (node("Shape", "x"), {"x": HALF}, INT64),
        (node("Cast", "x", to=INT32), {"x": HALF}, INT32),
        (node("Concat", "x,x,x", axis=0), {"x": INT32}, INT32),
        (node("Constant", "", value=numpy_helper.from_array(np.float16([1]))), {}, HALF),
    ],
)
def test_types_of_standard_operators(made, types, expected):
    if made.op_type == "Constant":
        del made.input[:]
    assert tensor_types(model_of(made, types))["y"] == expected
