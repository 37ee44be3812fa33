"""The checkpoint that is shipped: small, complete, and as good as its README says."""

import csv
from pathlib import Path

import pytest

from pssdet.models.checkpoint import match_parameters, read_checkpoint
from pssdet.models.detector import TwoStageDetector
from pssdet.models.mini import MINI_FASTER, MINI_PREPROCESSING, SHAPES
from pssdet.models.numerics import DYGRAPH
from pssdet.models.reference_run import build_detector, parameter_shapes
from pssdet.training.evaluate import coco_statistics, detect_all
from pssdet.training.samples import read_annotations
from pssdet.validation.scene_files import write_dataset

CHECKPOINT = Path(__file__).parents[2] / "models" / "checkpoints" / "mini_faster.pdparams"


def test_bundled_detector_finds_the_shapes(tmp_path):
    pytest.importorskip("pycocotools")
    model = TwoStageDetector(MINI_FASTER, DYGRAPH)
    build_detector(model, match_parameters(read_checkpoint(CHECKPOINT), parameter_shapes(model), "mini_faster"))
    annotations = write_dataset(tmp_path, "heldout", 40)
    results = list(detect_all(model, MINI_PREPROCESSING, read_annotations(annotations)))
    assert coco_statistics(annotations, results)["AP"] > 0.65  # 0.772 on 1,000 scenes
    assert {row["category_id"] for row in results} == set(range(1, len(SHAPES) + 1))


def test_checkpoint_is_small_and_its_offsets_have_learnt():
    assert CHECKPOINT.stat().st_size <= 6_000_000
    parameters = read_checkpoint(CHECKPOINT)
    offsets = [value for name, value in parameters.items() if "conv_offset" in name]
    assert len(offsets) == 10
    assert all(value.any() for value in offsets)


def test_curve_is_that_of_a_whole_run():
    with CHECKPOINT.with_suffix(".csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(20, 5601, 20))
    totals = [sum(float(value) for name, value in row.items() if name.startswith(("rpn", "head"))) for row in rows]
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
