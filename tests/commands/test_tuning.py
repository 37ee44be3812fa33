"""The options of --tune-precision: checked before anything takes time, and passed on."""

import pytest

from pssdet.commands.artifacts import SCENES, bundled_scenes
from pssdet.commands.tuning import Tuning
from pssdet.engines.precision.recipe import Recipe, read_recipe
from pssdet.errors import BadInput
from pssdet.models.card import read_model_card


@pytest.mark.parametrize(
    ("options", "precision", "missing"),
    [
        ((None, "images", None), "fp16", "--tune-precision"),
        ((None, None, "annotations"), "fp16", "--tune-precision"),
        (("recipe", "images", None), "fp32", "--fp16"),
        (("recipe", "images", None), "int8", "--fp16"),
        (("recipe", None, "annotations"), "fp16", "--images"),
        (("recipe", None, None), "fp16", "--images"),
    ],
)
def test_options_that_lack_another_one(tmp_path, options, precision, missing):
    tuning = Tuning(*(tmp_path / name if name else None for name in options))
    with pytest.raises(BadInput, match=missing):
        tuning.check(precision, None)


def test_a_bundled_detector_needs_no_pictures_of_the_users(tmp_path):
    scenes = bundled_scenes("artifacts/mini_faster")
    assert scenes is not None
    assert scenes.name == f"train-{SCENES}"  # not those that reports judge on
    Tuning(tmp_path / "recipe.json", None, None).check("fp16", scenes)
    assert bundled_scenes("faster_rcnn_enhance_3x_coco") is None


def test_nothing_is_done_unasked(tmp_path):
    Tuning(None, None, None).run(tmp_path / "nothing", "fp16", None, lambda _: None)


def test_the_recipe_is_written(tmp_path, mini_folder, monkeypatch):
    """With the bundled detectors' scenes AP decides, with pictures alone agreement does."""
    asked = []
    found = Recipe(("trunk/Conv_9",), "mini_faster", "of a test")

    def fake_tune(model, precision, pictures, progress):
        asked.append((model, len(pictures.paths), pictures.truth is not None))
        return found

    def few_scenes(folder, progress):
        from pssdet.validation.scenes.dataset import ensure_dataset

        return ensure_dataset(folder, "train", 3)

    monkeypatch.setattr("pssdet.validation.tune_precision.tune", fake_tune)
    monkeypatch.setattr("pssdet.commands.artifacts.render_scenes", few_scenes)
    target = tmp_path / "recipes" / "mine.json"
    Tuning(target, None, None).run(mini_folder, "bf16", tmp_path / "scenes", lambda _: None)
    assert read_recipe(target) == found
    Tuning(target, tmp_path / "scenes", None).run(mini_folder, "bf16", None, lambda _: None)
    assert asked == [(mini_folder, 3, True), (mini_folder, 3, False)]
    assert read_model_card(mini_folder).model == found.model
