"""Recipes found by detections: none needed for the bundled detector, the planted layer where one overflows."""

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pssdet.engines.precision.recipe import default_recipe
from pssdet.engines.registry import backend_named
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import FileRecord, encode, read_model_card
from pssdet.validation.tune_precision import Pictures, tune, tuning_backend

PICTURES = 8
#: Of detections that must agree: eight pictures show some twenty objects, and one more or less must not matter.
TARGET = 0.9
#: The layer that overflows, and the next one, which scales its values back.
LARGE = "backbone.res2.res2a.branch2a.conv"
BACK = "backbone.res2.res2a.branch2b.conv.weight"
#: The layer that is moved away from zero, and the next one, without padding, which moves its values back.
SHIFTED = "backbone.res2.res2a.branch2b.conv"
NEXT = "backbone.res2.res2a.branch2c.conv"


def pictures(scenes, folder, *, annotated=False, most=PICTURES):
    annotations, images = scenes
    return Pictures.of(images, annotations if annotated else None, read_model_card(folder), most)


def altered(folder, target, factors):
    """The model with some parameters multiplied, and a card that says so."""
    model = onnx.load(folder / "model.onnx")
    done = set()
    for tensor in model.graph.initializer:
        if tensor.name in factors:
            values = numpy_helper.to_array(tensor) * np.float32(factors[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            done.add(tensor.name)
    assert done == set(factors)
    return saved(model, folder, target)


def saved(model, folder, target):
    onnx.save(model, target / "model.onnx")
    onnx_file = FileRecord.of(target / "model.onnx")
    card = msgspec.structs.replace(read_model_card(folder), onnx=onnx_file, probe=None)
    (target / "model.json").write_bytes(encode(card))
    return target


@pytest.fixture(scope="module")
def overflowing(mini_folder, tmp_path_factory):
    factors = {f"{LARGE}.weight": 2.0**17, f"{LARGE}.bias": 2.0**17, BACK: 2.0**-17}
    return altered(mini_folder, tmp_path_factory.mktemp("overflowing"), factors)


@pytest.mark.parametrize("annotated", [False, True])
def test_the_bundled_detector_needs_no_more_than_the_default(mini_folder, scenes, annotated):
    steps = []
    recipe = tune(
        mini_folder, "fp16", pictures(scenes, mini_folder, annotated=annotated, most=40), steps.append
    )
    assert recipe.fp32 == default_recipe("mini_faster", onnx.load(mini_folder / "model.onnx").graph).fp32
    assert recipe.model == "mini_faster"
    assert len(steps) == 2  # float32, and one recipe
    assert ("AP" if annotated else "agree with float32") in recipe.note
    assert "40 pictures" in recipe.note


@pytest.mark.parametrize("annotated", [False, True])
def test_a_layer_that_overflows_is_found(overflowing, scenes, annotated):
    graph = onnx.load(overflowing / "model.onnx").graph
    reads = {parameter: node for node in graph.node for parameter in node.input}
    large, back = reads[f"{LARGE}.weight"], reads[BACK]
    between = next(node for node in graph.node if large.output[0] in node.input)
    assert back.input[0] in between.output
    steps = []
    judged_on = pictures(scenes, overflowing, annotated=annotated)
    recipe = tune(overflowing, "fp16", judged_on, steps.append, None if annotated else TARGET)
    default = default_recipe("mini_faster", graph).fp32
    # Its result overflows, and so it would where the next two read it rounded.
    assert set(recipe.fp32) - set(default) == {large.name, between.name, back.name}
    assert set(default) < set(recipe.fp32)
    assert "with the default recipe" in recipe.note
    assert len(steps) < 40


def test_the_result_is_the_same_every_time(overflowing, scenes):
    judged_on = pictures(scenes, overflowing, most=4)
    first, second = (tune(overflowing, "fp16", judged_on, target=0.5) for _ in range(2))
    assert first == second


def test_a_target_that_nothing_reaches(overflowing, scenes):
    with pytest.raises(GateFailed, match="no recipe of mini_faster"):
        tune(overflowing, "fp16", pictures(scenes, overflowing, most=2), target=1.1)


def test_an_engine_that_cannot_be_opened_is_named_as_such(mini_folder, scenes, monkeypatch):
    def refuse(*_):
        raise GateFailed("OpenVINO cannot compile the model (no kernel)")

    monkeypatch.setattr(tuning_backend("fp16"), "open_trial", refuse)
    with pytest.raises(GateFailed) as failure:
        tune(mini_folder, "fp16", pictures(scenes, mini_folder, most=2), target=0.5)
    assert str(failure.value) == (
        "no recipe of mini_faster will do: with all of trunk and head in float32"
        " OpenVINO cannot compile the model (no kernel)"
    )


def test_too_few_objects_to_judge_by(mini_folder, scenes):
    with pytest.raises(BadInput, match="too few"):
        tune(mini_folder, "fp16", pictures(scenes, mini_folder, most=2))


def test_an_altered_model_is_refused(mini_folder, scenes, tmp_path):
    (tmp_path / "model.json").write_bytes((mini_folder / "model.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes((mini_folder / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match="sha256"):
        tune(tmp_path, "fp16", pictures(scenes, mini_folder))


@pytest.fixture(scope="module")
def cancelling(mini_folder, tmp_path_factory):
    """A layer whose values lie near 4096, where bfloat16 has steps of 16; the next one takes that away."""
    folder = tmp_path_factory.mktemp("cancelling")
    model = onnx.load(mini_folder / "model.onnx")
    parameters = {tensor.name: tensor for tensor in model.graph.initializer}

    def change(name, by):
        tensor = parameters[name]
        tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) + by).astype(np.float32), name))

    weights = numpy_helper.to_array(parameters[f"{NEXT}.weight"])
    change(f"{SHIFTED}.bias", 4096)
    change(f"{NEXT}.bias", -4096.0 * weights.sum(axis=(1, 2, 3)))
    return saved(model, mini_folder, folder)


@pytest.mark.skipif(
    backend_named("openvino").missing_for("bf16") is not None, reason="this CPU has no bfloat16"
)
def test_a_layer_that_bfloat16_destroys_is_found(cancelling, scenes):
    graph = onnx.load(cancelling / "model.onnx").graph
    reads = {parameter: node for node in graph.node for parameter in node.input}
    shifted, back = reads[f"{SHIFTED}.bias"], reads[f"{NEXT}.bias"]
    (activation,) = (node.name for node in graph.node if node.output[0] in back.input)
    recipe = tune(cancelling, "bf16", pictures(scenes, cancelling), target=0.8)
    found = set(recipe.fp32) - set(default_recipe("mini_faster", graph).fp32)
    # OpenVINO makes one layer of a convolution and its activation: one of the two is enough.
    assert {activation, back.name} <= found <= {shifted.name, activation, back.name}


def test_a_precision_without_such_engines(mini_folder, scenes):
    with pytest.raises(BadInput, match="int8 cannot be found by tuning"):
        tune(mini_folder, "int8", pictures(scenes, mini_folder))
