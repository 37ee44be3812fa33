"""What is said of a compiled model's precisions, and when a build must fail."""

from types import SimpleNamespace

import pytest

from pssdet.engines.ov.executed import Executed, executed, prove
from pssdet.errors import GateFailed

A, B, C = "trunk/a", "trunk/b", "trunk/c"
CONVOLUTIONS = {A: 60, B: 30, C: 10}


def found(nodes):
    half = frozenset(node for node, precision in nodes.items() if precision == "bf16")
    return Executed({}, {"offsets": "fp32", **nodes}, half)


class Layer:
    """Of a compiled model; its name is that of the ONNX nodes that it computes."""

    def __init__(self, kind, precision, names):
        said = {"layerType": kind, "runtimePrecision": precision, "originalLayersNames": names}
        self.said = {name: SimpleNamespace(astype=lambda _, value=value: value) for name, value in said.items()}

    def get_rt_info(self):
        return self.said


class Compiled(list):
    """A compiled model, and its executed graph: layers in the order in which they run."""

    def get_runtime_model(self):
        return self

    def get_ops(self):
        return self


def test_fused_nodes_have_the_precision_of_their_layer():
    layers = [
        Layer("Convolution", "bf16", f"{A},trunk/relu"),
        Layer("Reorder", "f32", ""),
        Layer("FullyConnected", "f32", "head/add"),
    ]
    assert executed(Compiled(layers), {"head/product": "head/add"}) == Executed(
        {"bf16": 1, "fp32": 1},
        {A: "bf16", "trunk/relu": "bf16", "head/add": "fp32", "head/product": "fp32"},
        {A, "trunk/relu"},
    )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("parts", "precision", "half"),
    [
        ([("Eltwise", "f32"), ("Eltwise", "bf16")], "bf16", True),
        ([("TopK", "f32"), ("TopK", "i32")], "fp32", False),
        ([("Eltwise", "u8"), ("Eltwise", "bf16")], "int8", True),
        ([("Convolution", "i8"), ("Eltwise", "bf16")], "int8", True),
        ([("Convolution", "bf16"), ("Eltwise", "f32")], "bf16", True),
        ([("DeformableConvolution", "f32"), ("Eltwise", "bf16")], "fp32", True),
        ([("Convolution", "f32"), ("Eltwise", "f32")], "fp32", False),
    ],
)
def test_a_node_that_became_several_layers(parts, precision, half, backwards):
    """Its weights decide on what its operations are; what rounds a part of it is seen all the same."""
    layers = [Layer(*part, f"{A}/WithoutBiases" if "Conv" in part[0] else A) for part in parts]
    said = executed(Compiled(layers[::-1] if backwards else layers), {})
    assert (said.nodes, A in said.half) == ({A: precision}, half)
    held = Executed({}, {**said.nodes, B: "bf16"}, said.half)
    if half or precision != "fp32":
        with pytest.raises(GateFailed, match=f"does not keep {A} in float32"):
            prove(held, "bf16", {B: 1}, [A])
    else:
        prove(held, "bf16", {B: 1}, [A])


def test_operations_are_summed_by_precision():
    nodes = found({A: "int8", B: "bf16"})
    assert nodes.operations(CONVOLUTIONS) == {"int8": 60, "bf16": 30, "unknown": 10}
    assert nodes.others(CONVOLUTIONS, "int8") == (B, C)


@pytest.mark.parametrize(
    ("asked", "enough", "too_few"), [("bf16", (A, B, C), (A, B)), ("int8", (A, B), (B, C))]
)
def test_most_of_the_operations_must_have_the_precision(asked, enough, too_few):
    prove(found(dict.fromkeys(enough, asked)), asked, CONVOLUTIONS, ["offsets"])
    with pytest.raises(GateFailed, match=rf"{asked} was asked for.*nothing was written"):
        prove(found(dict.fromkeys(too_few, asked)), asked, CONVOLUTIONS, ["offsets"])


def test_a_node_that_is_held_must_be_in_float32():
    nodes = found(dict.fromkeys((A, B, C, "offsets"), "bf16"))
    with pytest.raises(GateFailed, match="does not keep offsets in float32"):
        prove(nodes, "bf16", CONVOLUTIONS, ["offsets"])
    with pytest.raises(GateFailed, match="does not keep lost"):
        prove(found(dict.fromkeys((A, B, C), "bf16")), "bf16", CONVOLUTIONS, ["lost"])


def test_what_is_neither_trunk_nor_head_must_not_be_rounded():
    prove(found({A: "bf16", "head/b": "bf16", "boxes": "fp32"}), "bf16", {A: 1}, ["offsets"])
    with pytest.raises(GateFailed, match="does not keep boxes in float32"):
        prove(found({A: "bf16", "boxes": "bf16"}), "bf16", {A: 1}, ["offsets"])


def test_nothing_chosen_is_no_proof():
    with pytest.raises(GateFailed):
        prove(found({}), "int8", {}, ["offsets"])
