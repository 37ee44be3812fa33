"""What is said of a compiled model's precisions, and when a build must fail."""

import pytest

from pssdet.engines.ov.executed import Executed, prove
from pssdet.errors import GateFailed

CONVOLUTIONS = {"a": 60, "b": 30, "c": 10}


def found(**nodes):
    return Executed({}, {"offsets": "fp32", **nodes})


def test_operations_are_summed_by_precision():
    nodes = found(a="int8", b="bf16")
    assert nodes.operations(CONVOLUTIONS) == {"int8": 60, "bf16": 30, "unknown": 10}
    assert nodes.others(CONVOLUTIONS, "int8") == ("b", "c")


@pytest.mark.parametrize(("asked", "enough", "too_few"), [("bf16", "abc", "ab"), ("int8", "ab", "bc")])
def test_most_of_the_operations_must_have_the_precision(asked, enough, too_few):
    prove(found(**dict.fromkeys(enough, asked)), asked, CONVOLUTIONS, ["offsets"])
    with pytest.raises(GateFailed, match=rf"{asked} was asked for.*nothing was written"):
        prove(found(**dict.fromkeys(too_few, asked)), asked, CONVOLUTIONS, ["offsets"])


def test_a_node_that_is_held_must_be_in_float32():
    nodes = found(a="bf16", b="bf16", c="bf16", offsets="bf16")
    with pytest.raises(GateFailed, match="does not keep offsets in float32"):
        prove(nodes, "bf16", CONVOLUTIONS, ["offsets"])
    with pytest.raises(GateFailed, match="does not keep lost"):
        prove(nodes._replace(nodes=CONVOLUTIONS), "bf16", CONVOLUTIONS, ["lost"])


def test_nothing_chosen_is_no_proof():
    with pytest.raises(GateFailed):
        prove(found(), "int8", {}, ["offsets"])
