"""The zoo's entries beyond the published table: the generic detectors and the classifier."""

import pytest
from reference import DATA
from static_parameters import read_manifest

from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.parameter_names import to_structured
from pssdet.models.zoo import CLASSIFIERS, PUBLISHED, ZOO, find, find_any

GENERIC = {"cascade_rcnn_dcn_r50_vd_fpn_gen_server_side": 2, "cascade_rcnn_dcn_r101_vd_fpn_gen_server_side": 3}


@pytest.mark.parametrize("name", GENERIC)
class TestGenericDetectors:
    def test_are_their_published_rows_with_other_classes(self, name):
        entry = find(name)
        row = next(each for each in ZOO if each.row == GENERIC[name])
        assert entry.preprocessing == row.preprocessing
        assert entry.numerics == row.numerics
        assert entry.architecture.blocks == row.architecture.blocks
        assert len(entry.labels) == entry.architecture.num_classes == 676
        assert (entry.labels[0], entry.labels[-1]) == ("class 0", "class 675")
        assert entry.checkpoint.endswith(f"/object_detection/{name}.pdparams")

    def test_take_a_static_checkpoint_with_677_scores(self, name):
        pytest.importorskip("paddle")
        from pssdet.models.network.detector import TwoStageDetector
        from pssdet.models.network.reference_run import parameter_shapes

        static = read_manifest(DATA / f"row{GENERIC[name]}.tsv")
        static = {key: tuple(677 if size == 81 else size for size in shape) for key, shape in static.items()}
        assert static["cls_score_3_w"] == (1024, 677)
        entry = find(name)
        assert to_structured(static)[0] == parameter_shapes(
            TwoStageDetector(entry.architecture, entry.numerics)
        )


def test_only_the_published_table_has_rows_and_figures():
    assert [entry.row for entry, _ in PUBLISHED] == [1, 2, 3, 4]
    assert all(entry.row == 0 for entry in ZOO if entry.published is None)


def test_a_classifier_is_no_detector():
    (entry,) = CLASSIFIERS
    assert find_any(entry.name) is entry
    assert (entry.top1, len(entry.labels)) == (82.39, 1000)
    with pytest.raises(BadInput, match="is a classifier"):
        find(entry.name)


def test_names_that_do_not_exist():
    with pytest.raises(BadInput, match="did you mean resnet50_vd_ssld"):
        find_any("resnet50_ssld")
    with pytest.raises(BadInput, match=r"choose from .*mini_faster.*resnet50_vd_ssld"):
        find_any("zzz")


@pytest.mark.parametrize("name", ["zzz", "resnet50_ssld"])
def test_whoever_wants_a_detector_chooses_from_detectors(name):
    with pytest.raises(BadInput, match=r"choose from .*mini_faster") as caught:
        find(name)
    assert "ssld" not in str(caught.value).replace(repr(name), "")
