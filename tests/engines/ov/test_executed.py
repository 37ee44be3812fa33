"""What is said of a compiled model's precisions, and when a build must fail."""

import pytest

from pssdet.engines.ov.executed import Executed, prove
from pssdet.errors import GateFailed

A, B, C = "trunk/a", "trunk/b", "trunk/c"
CONVOLUTIONS = {A: 60, B: 30, C: 10}


def found(nodes):
    return Executed({}, {"offsets": "fp32", **nodes})


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
        prove(nodes._replace(nodes=CONVOLUTIONS), "bf16", CONVOLUTIONS, ["lost"])


def test_what_is_neither_trunk_nor_head_must_not_be_rounded():
    prove(found({A: "bf16", "head/b": "bf16", "boxes": "fp32"}), "bf16", {A: 1}, ["offsets"])
    with pytest.raises(GateFailed, match="does not keep boxes in float32"):
        prove(found({A: "bf16", "boxes": "bf16"}), "bf16", {A: 1}, ["offsets"])


def test_nothing_chosen_is_no_proof():
    with pytest.raises(GateFailed):
        prove(found({}), "int8", {}, ["offsets"])
