"""Nodes held to float32: each is constrained, or listed with the reason; a node that is lost fails."""

import fake_trt_build
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.plan import held as module
from pssdet.engines.trt.plan.held import (
    CAST,
    FOLDED,
    IDENTITY,
    NO_FLOAT,
    NOT_SETTABLE,
    PLUGIN,
    Held,
    expected_to_hold,
    hold_in_float32,
)
from pssdet.engines.trt.plan.network import onnx_nodes, parse
from pssdet.errors import GateFailed

#: Operator, inputs, outputs and name; ``half`` alone is not to be held.
NODES = (
    ("Relu", "x", "h", "half"),
    ("Identity", "h", "same", "identity"),
    ("Gemm", "same w b", "fc", "gemm"),
    ("Softmax", "fc", "p", "softmax"),
    ("TopK", "p k", "best order", "topk"),
    ("Greater", "best zero", "positive", "greater"),
    ("Where", "positive best zero", "chosen", "where"),
    ("Shape", "fc", "size", "shape"),
    ("Cast", "size", "width", "cast"),
    ("Mul", "width two", "wide", "mul"),
    ("Add", "zero two", "known", "add"),
    ("Sub", "chosen known", "y", "sub"),
    ("PssDetMulticlassNms", "y y order32", "boxes scores labels count", "nms"),
    ("Cast", "order", "order32", "order"),
)
NAMES = {name for *_, name in NODES} - {"half"}
#: What the parser adds behind the Gemm and behind the Softmax.
BIAS, RESHAPE = "(Unnamed Layer* 3) [ElementWise]", "(Unnamed Layer* 5) [Shuffle]"


def model_of(nodes=NODES, doc=""):
    made = [
        helper.make_node(op, inputs.split(), outputs.split(), name, doc_string=doc, domain=domain_of(op))
        for op, inputs, outputs, name in nodes
    ]
    for node in made:
        if node.op_type == "Cast":
            to = TensorProto.INT32 if node.name == "order" else TensorProto.FLOAT
            node.attribute.append(helper.make_attribute("to", to))
    # The plugin reads what stands behind it in the table.
    made.sort(key=lambda node: node.op_type.startswith("PssDet"))
    parameters = {
        "w": np.ones((4, 8), np.float32),
        "b": np.ones(8, np.float32),
        "k": np.array([3]),
        "zero": np.float32(0),
        "two": np.float32(2),
    }
    graph = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in parameters.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("trt.plugins", 1)]
    )


def domain_of(op):
    return "trt.plugins" if op.startswith("PssDet") else ""


@pytest.fixture(params=["8.6.0", "10.4.0"])
def trt(request, monkeypatch):
    return fake_trt_build.install(monkeypatch, request.param)


def hold(trt, model=None, names=NAMES):
    logger = error_log(trt)
    network, _ = parse(trt, trt.Builder(logger), 1, (model or model_of()).SerializeToString(), logger)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return hold_in_float32(trt, network, model or model_of(), names), layers


def precisions(layers):
    return {layer.name for layer in layers if layer.held is not None}


def types(layers):
    return {layer.name: sorted(layer.output_types) for layer in layers if layer.output_types}


EXEMPT = {
    NO_FLOAT: ("greater", "shape", "order"),
    CAST: ("cast",),
    PLUGIN: ("nms",),
    NOT_SETTABLE: ("identity",),
}


class TestEachNode:
    def test_is_held_or_listed(self, trt):
        found, layers = hold(trt)
        assert found == Held(("gemm", "softmax", "mul", "add", "sub"), ("topk", "where"), EXEMPT)
        assert precisions(layers) == {"gemm", BIAS, "softmax", "mul", "add", "sub"}
        # Of TopK only the first output; nothing of what moves data has a precision.
        assert types(layers) == {name: [0] for name in (*precisions(layers), RESHAPE, "topk", "where")}

    def test_no_layer_has_what_no_kernel_has(self, trt):
        _, layers = hold(trt)
        assert not any(layer._without_kernel() for layer in layers)

    def test_that_is_not_to_be_held_is_left_alone(self, trt):
        found, layers = hold(trt, names={"sub"})
        assert found == Held(("sub",), (), {})
        assert precisions(layers) == {"sub"}

    def test_may_have_been_folded_by_the_parser(self, trt):
        trt.loses = {"add"}
        found, _ = hold(trt)
        assert found.exempt[FOLDED] == ("add",)

    def test_may_pass_on_what_it_is_given(self, trt):
        trt.renames_identities = True
        found, layers = hold(trt)
        assert found.exempt[IDENTITY] == ("identity",)
        # The tensor has the name of the identity's output by now, but its layer is that of another node.
        assert "half" not in precisions(layers)

    def test_may_compute_a_shape(self, trt, monkeypatch):
        made = fake_trt_build.Network._fill

        def fill(self, model):
            made(self, model)
            for layer in self._layers:
                for index in range(layer.num_outputs):
                    layer.get_output(index).is_shape_tensor = layer.name in ("shape", "mul")

        monkeypatch.setattr(fake_trt_build.Network, "_fill", fill)
        found, layers = hold(trt)
        assert found.exempt[NOT_SETTABLE] == ("identity", "mul")
        assert "mul" not in precisions(layers)

    @pytest.mark.parametrize("node", ["gemm", "softmax", "mul", "sub"])
    def test_that_computes_and_is_lost_fails(self, trt, node):
        trt.loses = {node}
        with pytest.raises(GateFailed, match=f"no layer for {node}, to be held to float32"):
            hold(trt)


class TestLayers:
    def test_without_metadata_go_by_name_and_by_what_lies_between_tensors(self, trt):
        """The second layers of Gemm and Softmax never have a name; the tensors that they make tell."""
        trt.knows_metadata = False
        found, layers = hold(trt)
        assert found == Held(("gemm", "softmax", "mul", "add", "sub"), ("topk", "where"), EXEMPT)
        assert BIAS in precisions(layers)
        assert RESHAPE in types(layers)

    def test_of_other_nodes_are_not_reached(self, trt):
        trt.knows_metadata = False
        _, layers = hold(trt, names={"softmax"})
        assert precisions(layers) == {"softmax"}

    @pytest.mark.parametrize("doc", ["made by hand", "it [reads] x | y"])
    def test_whose_nodes_are_documented_are_found(self, trt, doc):
        """8.6 writes the documentation behind the name; the rewrite clears it, other graphs have it."""
        assert hold(trt, model_of(doc=doc))[0] == hold(trt)[0]

    def test_names_in_metadata(self):
        text = "[ONNX Layer: a/b | some [text]]\x1e[ONNX Layer: c]\x1f[ONNX Layer: d | Local Function: f]"
        assert onnx_nodes(text) == ["a/b", "c", "d"]


def test_what_is_expected_without_a_network(trt):
    expected = expected_to_hold(model_of(), NAMES)
    found, _ = hold(trt)
    assert set(expected.computed) == set(found.computed) - {"add"}
    assert set(expected.moved) == {*found.moved, "identity"}
    assert expected.exempt == {
        NO_FLOAT: found.exempt[NO_FLOAT],
        CAST: ("cast",),
        PLUGIN: ("nms",),
        FOLDED: ("add",),
    }


def test_every_reason_is_distinct():
    reasons = [CAST, FOLDED, IDENTITY, NO_FLOAT, NOT_SETTABLE, PLUGIN, module.COMPUTED, module.MOVED]
    assert len(set(reasons)) == len(reasons)
