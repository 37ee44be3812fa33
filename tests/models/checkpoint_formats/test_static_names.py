"""Static names become the models' own, all of them and one to one; other variables are recognised."""

from __future__ import annotations

import re

import pytest
from reference import DATA
from static_parameters import read_manifest

from pssdet.models.checkpoint_formats.parameter_names import (
    is_optimiser,
    is_static,
    structured_name,
    to_structured,
)
from pssdet.models.checkpoint_formats.untrusted import Refused
from pssdet.models.zoo import ZOO

OPTIMISER = (
    "conv1_1_weights_velocity_0",
    "res4b_branch2b_conv_offset.w_0_velocity_0",
    "fc6_2_w_moment1_0",
    "fc6_w_moment_12",
    "fc6_w_beta1_pow_acc_0",
    "fc6_w.beta2_pow_acc_0",
    "learning_rate",
    "learning_rate_0",
    "learning_rate_warmup",
    "@LR_DECAY_COUNTER@",
)
UNKNOWN = (
    "",
    "fc6",
    "fc6_4_w",
    "fc6_1_w",
    "fc8_w",
    "fc6_w ",
    "fc6_w\n",
    "Fc6_w",
    "conv1_4_weights",
    "res3b_branch1_weights",  # only a stage's first block has a shortcut
    "res6a_branch2a_weights",
    "res4b0_branch2a_weights",
    "res4b01_branch2a_weights",
    "res4c1_branch2a_weights",
    "res4b٣_branch2a_weights",
    "res3a_branch2a_conv_offset.w_0",
    "res3a_branch2b_conv_offset.w_1",
    "fpn_inner_res5_sum_lateral_w",
    "fpn_inner_res4_sum_w",
    "rpn_cls_logits_fpn3_w",
    "velocity_0",
    "learning_rates",
    "@counter@",
    "backbone.conv1.conv1_1.conv.weight",
)


@pytest.mark.parametrize("row", [1, 2, 3])
def test_every_published_name_is_one_of_the_models(row):
    pytest.importorskip("paddle")
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes

    entry = next(entry for entry in ZOO if entry.row == row)
    manifest = read_manifest(DATA / f"row{row}.tsv")
    found, ignored = to_structured(manifest)
    assert found == parameter_shapes(TwoStageDetector(entry.architecture, entry.numerics))
    assert ignored == 0
    assert len(found) == len(manifest)


def test_row_1_has_the_names_of_row_4():
    """Their heads differ in the order of columns, so in one shape."""
    found, _ = to_structured(read_manifest(DATA / "row1.tsv"))
    row4 = read_manifest(DATA / "row4.tsv")
    assert set(found) == set(row4)
    assert {name for name in row4 if found[name] != row4[name]} == {
        "bbox_head.bbox_delta.weight",
        "bbox_head.bbox_delta.bias",
    }


def test_heads_without_a_number_depend_on_the_whole_file():
    for names in (["fc6_w", "fc6_2_w"], ["fc6_2_w", "fc6_w"]):
        found, _ = to_structured(dict.fromkeys(names))
        assert set(found) == {"bbox_head.head.0.fc6.weight", "bbox_head.head.1.fc6.weight"}
    assert set(to_structured({"fc6_w": 0, "fc6_w_velocity_2": 0})[0]) == {"bbox_head.head.fc6.weight"}
    assert set(to_structured({"cls_score_b": 0, "bbox_pred_3_w": 0})[0]) == {
        "bbox_head.bbox_score_stage0.bias",
        "bbox_head.bbox_delta_stage2.weight",
    }


@pytest.mark.parametrize("row", [1, 2, 3])
def test_optimiser_variables_are_counted_wherever_they_lie(row):
    manifest = read_manifest(DATA / f"row{row}.tsv")
    more = {f"{name}_velocity_0": shape for name, shape in manifest.items()} | dict.fromkeys(OPTIMISER, (1,))
    expected, _ = to_structured(manifest)
    for names in (manifest | more, more | manifest, dict(reversed((manifest | more).items()))):
        found, ignored = to_structured(names)
        assert found == expected
        assert ignored == len(more)


def test_what_is_what():
    for name in OPTIMISER:
        assert is_optimiser(name)
        assert structured_name(name) is None
    for name in UNKNOWN:
        assert not is_optimiser(name)
        assert structured_name(name) is None
        assert structured_name(name, cascade=True) is None
    for row in (1, 2, 3):
        names = read_manifest(DATA / f"row{row}.tsv")
        assert not any(is_optimiser(name) for name in names)
        assert all(is_static([name]) for name in names)
    assert not is_static(read_manifest(DATA / "row4.tsv"))


def test_unknown_names_are_named():
    names = dict.fromkeys(["fc6_w", *(f"alien{i}" for i in range(7)), "learning_rate_0"])
    with pytest.raises(
        Refused, match=re.escape("7 unknown variables (alien0, alien1, alien2, alien3, alien4, ...)")
    ):
        to_structured(names)


def test_no_parameters_at_all():
    for names, words in (({}, "no parameters"), ({"learning_rate_0": 0}, r"no parameters \(1 optimiser")):
        with pytest.raises(Refused, match=words):
            to_structured(names)
