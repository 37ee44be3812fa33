"""Recipes are data: read strictly, shipped for every detector that is ours, and obeyed."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pssdet.engines.precision import recipe as module
from pssdet.engines.precision.half import half_region
from pssdet.engines.precision.recipe import (
    Recipe,
    default_recipe,
    read_recipe,
    recipe_for,
    shipped_recipe,
    write_recipe,
)
from pssdet.errors import BadInput
from pssdet.models.stages import HEAD_NODES, TRUNK_NODES
from pssdet.models.zoo import ZOO


def layer(*, prefix="trunk/", mask=True):
    """A Relu, a DCNv2 layer and a head's Relu."""
    nodes = [
        helper.make_node("Relu", ["image"], ["x"], name="trunk/Relu_9"),
        helper.make_node("Conv", ["x", "wo"], [f"{prefix}raw"], name=f"{prefix}Conv_0"),
        helper.make_node(
            "Split", [f"{prefix}raw"], [f"{prefix}o", f"{prefix}l"], name=f"{prefix}Split_1", axis=1
        ),
        helper.make_node("Sigmoid", [f"{prefix}l"], [f"{prefix}m"], name=f"{prefix}Sigmoid_2"),
        helper.make_node(
            "DeformConv",
            ["x", "w", f"{prefix}o", *(["", f"{prefix}m"] if mask else [])],
            ["y"],
            name=f"{prefix}DeformConv_3",
        ),
        helper.make_node("Relu", ["y"], ["z"], name="head/Relu_0"),
    ]
    weights = [numpy_helper.from_array(np.zeros((1, 1, 3, 3), np.float32), name) for name in ("w", "wo")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 4, 4])
    return helper.make_graph(nodes, "layer", [image], [onnx.ValueInfoProto(name="z")], weights)


def test_the_default_keeps_predictors_of_offsets_and_masks():
    assert default_recipe("m", layer()).fp32 == ("trunk/Conv_0", "trunk/Split_1", "trunk/Sigmoid_2")
    assert default_recipe("m", layer(mask=False)).fp32 == ("trunk/Conv_0", "trunk/Split_1")


def test_prefixes_are_those_of_the_exported_model():
    assert module.HALF_PREFIXES == (TRUNK_NODES, HEAD_NODES)


def test_every_detector_of_the_rows_and_the_bundled_ones_has_a_recipe():
    shipped = {path.stem: read_recipe(path) for path in module._FOLDER.glob("*.json")}
    bundled = {entry.name for entry in ZOO if entry.name.startswith("mini_")}
    rows = {entry.name for entry in ZOO if entry.row}
    assert set(shipped) == rows | bundled | {f"{name}.bf16" for name in bundled}
    for name, recipe in shipped.items():
        assert recipe.model == name.removesuffix(".bf16")
        assert recipe.fp32
        assert recipe.note


def test_a_model_without_a_recipe_gets_the_default():
    assert recipe_for("somebody's", layer()) == default_recipe("somebody's", layer())


def test_a_recipe_of_the_precision_goes_before_the_one_of_any(monkeypatch, tmp_path):
    for name in ("m", "m.bf16", "m.None"):
        (tmp_path / f"{name}.json").touch()
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    found = {precision: shipped_recipe("m", precision) for precision in ("bf16", "int8", None)}
    assert {precision: path.name for precision, path in found.items()} == {
        "bf16": "m.bf16.json",
        "int8": "m.json",
        None: "m.json",
    }
    assert shipped_recipe("other", "bf16") is None


def test_a_written_recipe_is_read_again(tmp_path):
    recipe = Recipe(fp32=("trunk/Conv_0", "head/Relu_0"), model="m", note="measured")
    write_recipe(tmp_path / "r.json", recipe)
    assert read_recipe(tmp_path / "r.json") == recipe


GOOD = {"model": "m", "note": "", "fp32": ["trunk/Conv_0"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "not a JSON object"),
        (GOOD | {"fp16": []}, "unknown field fp16"),
        ({"model": "m", "note": ""}, "field fp32 is missing"),
        (GOOD | {"model": 3}, "model is not a string"),
        (GOOD | {"note": None}, "note is not a string"),
        (GOOD | {"fp32": "trunk/Conv_0"}, "fp32 is not a list of strings"),
        (GOOD | {"fp32": ["trunk/Conv_0", 1]}, "fp32 is not a list of strings"),
        (GOOD | {"fp32": ["trunk/Conv_0"] * 2}, "trunk/Conv_0 more than once"),
        (GOOD | {"fp32": ["finish/Add_1"]}, "finish/Add_1, which is not of the trunk or head"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, content, reason):
    path = tmp_path / "r.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BadInput, match="is not a recipe") as error:
        read_recipe(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_recipe(tmp_path / "none.json")


def test_unknown_nodes_are_named_when_a_recipe_is_applied():
    recipe = Recipe(fp32=("trunk/Conv_0", "trunk/Conv_99"), model="m", note="")
    with pytest.raises(BadInput, match=r"recipe of m names .*\(trunk/Conv_99\)"):
        half_region(layer(), emulated=True, recipe=recipe)


def test_the_region_is_all_that_the_recipe_leaves():
    recipe = Recipe(fp32=("head/Relu_0", "trunk/Sigmoid_2"), model="m", note="")
    assert half_region(layer(), emulated=True, recipe=recipe) == {
        "trunk/Relu_9",
        "trunk/Conv_0",
        "trunk/Split_1",
        "trunk/DeformConv_3",
    }
    assert "trunk/DeformConv_3" not in half_region(layer(), emulated=False, recipe=recipe)
