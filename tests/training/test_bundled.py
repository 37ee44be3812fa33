"""The checkpoints that are shipped: small, complete, and as good as their README says."""

import csv
from pathlib import Path

import pytest

from pssdet.models.checkpoint_formats.checkpoint import match_parameters, read_checkpoint
from pssdet.models.labels import SHAPES
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.reference_run import parameter_shapes, with_parameters
from pssdet.models.zoo import find
from pssdet.training.evaluate import average_precisions, detect_all
from pssdet.training.run import CONFIGS
from pssdet.training.samples import annotated_pictures
from pssdet.validation.ground_truth import read_ground_truth
from pssdet.validation.scenes.dataset import write_dataset

FOLDER = Path(__file__).parents[2] / "models" / "checkpoints"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("scenes"), "heldout", 40)


@pytest.mark.parametrize("name", CONFIGS)
def test_bundled_detector_finds_the_shapes(name, scenes):
    entry = find(name)
    model = TwoStageDetector(entry.architecture, entry.numerics)
    parameters = read_checkpoint(FOLDER / f"{name}.pdparams")
    with_parameters(model, match_parameters(parameters, parameter_shapes(model), name))
    truth = read_ground_truth(scenes, scenes.parent, SHAPES)
    found = detect_all(model, entry, annotated_pictures(truth))
    values = average_precisions(truth, found)
    assert values["AP"] > 0.65  # 0.77 and 0.80 on 1,000 scenes
    of_shapes = [values[f"AP {name}"] for name in SHAPES]
    assert min(of_shapes) > 0.4
    assert values["AP"] == pytest.approx(sum(of_shapes) / len(SHAPES), abs=1e-9)
    assert {label for each in found for label in each.labels.tolist()} == set(range(len(SHAPES)))
    assert {each.pixel_offset for each in found} == {entry.numerics.pixel_offset}


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_is_of_the_detector_in_the_zoo(name):
    config, entry = CONFIGS[name], find(name)
    assert (config.architecture, config.numerics, config.preprocessing) == (
        entry.architecture,
        entry.numerics,
        entry.preprocessing,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_checkpoint_is_small_and_its_offsets_have_learnt(name):
    path = FOLDER / f"{name}.pdparams"
    assert path.stat().st_size <= 6_000_000
    offsets = [value for key, value in read_checkpoint(path).items() if "conv_offset" in key]
    assert len(offsets) == 10
    assert all(value.any() for value in offsets)


@pytest.mark.parametrize("name", CONFIGS)
def test_curve_is_that_of_a_whole_run(name):
    with (FOLDER / f"{name}.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(20, CONFIGS[name].steps + 1, 20))
    totals = [
        sum(float(value) for key, value in row.items() if key.startswith(("rpn", "head"))) for row in rows
    ]
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
