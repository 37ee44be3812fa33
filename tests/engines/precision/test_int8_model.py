"""int8 engines in ONNX Runtime: built, proved, opened; and what is refused."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pssdet.engines.backend import PrecisionOptions
from pssdet.engines.build_engine import build_engine
from pssdet.engines.precision.quantise import METHOD
from pssdet.engines.precision.recipe import Recipe, default_recipe, write_recipe
from pssdet.engines.registry import backend_named, open_engine
from pssdet.errors import BadInput, GateFailed
from pssdet.models.card import read_engine_card, read_model_card
from pssdet.models.preprocess import sample_batches


@pytest.fixture(scope="module")
def build(mini_folder, calibration_scenes):
    def make(output, **options):
        chosen = PrecisionOptions(calibration=calibration_scenes, **options)
        return build_engine(mini_folder, backend_named("onnxruntime"), "int8", output, options=chosen)

    return make


@pytest.fixture(scope="module")
def engine(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    build(folder)
    return folder


def test_the_card_says_how_it_was_calibrated(engine, calibration_scenes):
    card = read_engine_card(engine)
    assert (card.precision, card.emulated) == ("int8", True)
    assert card.calibration is not None
    assert (card.calibration.images, card.calibration.method) == (24, METHOD)
    assert len(card.calibration.ranges_sha256) == 64
    # Layers with weights, and those of them that are quantised: two of the head are not, by the recipe.
    assert card.fp32_nodes == 57 - (34 - 2)
    assert all(record.passed for record in card.verification)


def test_the_engine_runs(engine, mini_folder):
    _, inputs = next(sample_batches(read_model_card(mini_folder).preprocessing))
    _, session = open_engine(engine)
    outputs = session.run(inputs)
    session.close()
    assert outputs["count"][0] > 0
    assert np.isfinite(outputs["boxes"]).all()


def test_a_second_build_is_the_same_engine(engine, build, tmp_path):
    again = build(tmp_path / "again")
    first = read_engine_card(engine)
    assert again.files == first.files
    assert again.calibration == first.calibration


def test_what_a_recipe_names_is_not_quantised(build, mini_folder, tmp_path):
    graph = onnx.load(mini_folder / "model.onnx").graph
    layer = next(node for node in graph.node if node.name == "trunk/Conv_9")
    recipe = Recipe((*default_recipe("mini_faster", graph).fp32, layer.name), "mini_faster", "a test")
    write_recipe(tmp_path / "recipe.json", recipe)
    card = build(tmp_path / "engine", recipe=tmp_path / "recipe.json")
    assert card.fp32_nodes == 57 - 33
    built = onnx.load(tmp_path / "engine" / "model.onnx").graph
    assert next(node for node in built.node if node.name == layer.name).input == layer.input


def test_a_recipe_for_another_model(build, tmp_path):
    write_recipe(tmp_path / "recipe.json", Recipe(("trunk/Conv_999",), "other", ""))
    with pytest.raises(BadInput, match="Conv_999"):
        build(tmp_path / "engine", recipe=tmp_path / "recipe.json")
    assert not (tmp_path / "engine").exists()


def test_without_pictures_there_is_no_int8(mini_folder, tmp_path):
    with pytest.raises(BadInput, match="--calibration"):
        build_engine(mini_folder, backend_named("onnxruntime"), "int8", tmp_path / "engine")


def test_an_engine_of_unfit_pictures_is_not_written(mini_folder, tmp_path):
    """One black picture says nothing of the values that others give."""
    import cv2

    (tmp_path / "black").mkdir()
    cv2.imwrite(str(tmp_path / "black" / "a.png"), np.zeros((64, 64, 3), np.uint8))
    options = PrecisionOptions(calibration=tmp_path / "black")
    with pytest.raises(GateFailed, match="int8 differs"):
        build_engine(mini_folder, backend_named("onnxruntime"), "int8", tmp_path / "engine", options=options)
    assert not (tmp_path / "engine").exists()


def test_weights_and_biases_of_the_file(engine):
    parameters = {tensor.name: tensor for tensor in onnx.load(engine / "model.onnx").graph.initializer}
    name = "backbone.res2.res2a.branch2b.conv"
    assert f"{name}.weight" not in parameters
    assert numpy_helper.to_array(parameters[f"{name}.weight:int8"]).dtype == np.int8
    assert numpy_helper.to_array(parameters[f"{name}.bias"]).dtype == np.float32
