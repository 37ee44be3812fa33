"""The checkpoints that are shipped: small, complete, and as good as their README says."""

import csv
from pathlib import Path

import pytest

from benchmarks import ablation
from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint
from pssdet.models.labels import SHAPES
from pssdet.models.zoo import find
from pssdet.training.run import CONFIGS
from pssdet.validation.ground_truth import read_ground_truth
from pssdet.validation.scenes.dataset import write_dataset

FOLDER = Path(__file__).parents[2] / "models" / "checkpoints"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("scenes"), "heldout", 40)


@pytest.mark.parametrize("name", CONFIGS)
def test_bundled_detector_finds_the_shapes_and_needs_offsets_masks_and_colour(name, scenes, monkeypatch):
    """A smaller form of ``benchmarks/ablation.py``."""
    entry = find(name)
    truth = read_ground_truth(scenes, scenes.parent, SHAPES)
    monkeypatch.setattr(ablation, "FAULTS", [fault for fault in ablation.FAULTS if fault.gross])
    measured = ablation.measure(entry, truth, lambda _: None)
    assert measured.sound["AP"] > 0.55
    of_shapes = [measured.sound[f"AP {shape}"] for shape in SHAPES]
    assert min(of_shapes) > 0.35
    assert measured.sound["AP"] == pytest.approx(sum(of_shapes) / len(SHAPES), abs=1e-9)
    assert len(measured.faulty) == 3
    assert ablation.too_small(measured) == []


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
    assert all(value.std() > 0.01 for value in offsets)  # they start equal: weights at 0, offsets at 2


@pytest.mark.parametrize("name", CONFIGS)
def test_curve_is_that_of_a_whole_run(name):
    with (FOLDER / f"{name}.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(20, CONFIGS[name].steps + 1, 20))
    totals = [
        sum(float(value) for key, value in row.items() if key.startswith(("rpn", "head"))) for row in rows
    ]
    assert sum(totals[-10:]) < 0.7 * sum(totals[:10])


def test_readme_shows_the_figures_of_the_ablation():
    """The page is written by the benchmark, which fails if a fault costs too little."""
    page = (FOLDER.parents[1] / "benchmarks" / "results" / "ablation.md").read_text().splitlines()
    readme = (FOLDER / "README.md").read_text().splitlines()
    tables = [line for line in page if line.startswith("|")]
    assert len(tables) == 2 * 4 + 2 + len(ablation.FAULTS)
    assert [line for line in readme if line in tables] == tables
    for fault, line in zip(ablation.FAULTS, tables[-len(ablation.FAULTS) :], strict=True):
        assert line.startswith(f"| {fault.name} |")
