"""Sums of held products get one more axis and keep their values; those of held convolutions are held."""

import numpy as np
import onnx
import onnxruntime
import pytest

from pssdet.engines.ov.held import HELD, completed, keep_products_apart
from pssdet.engines.precision.recipe import recipe_for
from pssdet.models.card import read_model_card
from pssdet.models.preprocess import sample_batches

LAYERS = ("head/1/MatMul_1", "head/1/Add_2", "head/1/Relu_3")


@pytest.fixture
def model(mini_folder):
    return onnx.load(mini_folder / "model.onnx")


def nodes(model):
    return {node.name: node for node in model.graph.node}


def run(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    return session.run(None, {name: value for name, value in inputs.items() if name in names})


def test_values_stay_as_they_are(model, mini_folder):
    _, inputs = next(sample_batches(read_model_card(mini_folder).preprocessing))
    before = run(model, inputs)
    keep_products_apart(model, recipe_for("mini_faster", model.graph).fp32)
    assert sum(name.startswith(HELD) for name in nodes(model)) == 8
    onnx.checker.check_model(model)
    for expected, obtained in zip(before, run(model, inputs), strict=True):
        np.testing.assert_allclose(obtained, expected, rtol=1e-6)


def test_the_axis_goes_behind_an_activation_that_is_held_too(model):
    keep_products_apart(model, LAYERS)
    held = nodes(model)
    assert held["head/1/Add_2"].input[0].startswith(HELD)
    assert held["head/1/Relu_3"].input[0] == held["head/1/Add_2"].output[0] == "head/1/Add_2:0"
    assert held["head/1/Relu_3"].output[0].startswith(HELD)
    assert "head/1/Relu_3:0" in {name for node in model.graph.node for name in node.output}


def test_before_one_that_is_not(model):
    keep_products_apart(model, LAYERS[:2])
    held = nodes(model)
    assert held["head/1/Add_2"].output[0].startswith(HELD)
    assert held["head/1/Relu_3"].input[0] == "head/1/Add_2:0"


def test_what_is_not_held_stays_as_it_is(model):
    before = model.SerializeToString()
    keep_products_apart(model, ["trunk/Conv_0", "head/1/Add_2"])
    assert model.SerializeToString() == before


#: The RPN's convolutions, which only nodes outside of trunk and head read.
RPN = {f"trunk/Conv_{number}" for number in range(96, 106)}


def test_the_sum_of_a_held_convolution_is_held_with_its_activation(model):
    assert completed(model.graph, ["trunk/Conv_34"]) - RPN == {"trunk/Conv_34", "trunk/Add_35", "trunk/Relu_36"}


def test_one_without_a_sum_is_held_alone(model):
    assert completed(model.graph, ["trunk/Conv_0"]) - RPN == {"trunk/Conv_0"}


def test_the_results_of_the_rpn_are_held(model):
    assert completed(model.graph, []) == RPN
