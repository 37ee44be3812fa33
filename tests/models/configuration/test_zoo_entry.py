"""What configurations come to; the keys of a published detector come to that detector."""

import pytest
from configurations import CASCADE, DYGRAPH, FASTER, read_varied, varied, write_varied

from pssdet.errors import BadInput
from pssdet.models.architecture import Architecture
from pssdet.models.configuration.zoo_entry import describe, evaluated_otherwise, read_configuration, summary
from pssdet.models.labels import COCO
from pssdet.models.numerics import DYGRAPH as DYGRAPH_NUMERICS
from pssdet.models.numerics import STATIC as STATIC_NUMERICS
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import ZOO

#: What makes the files of ``data/configs`` the published ones.
COCO_DYGRAPH = """
num_classes: 80
TrainDataset: !COCODataSet {anno_path: annotations/instances_train2017.json}
EvalDataset: {anno_path: annotations/instances_val2017.json}
TestDataset: !ImageFolder {anno_path: annotations/instances_val2017.json}
FPN: {out_channel: 64}
ResNet: {depth: 50, dcn_v2_stages: [1, 2, 3]}
TestReader:
  sample_transforms:
  - Decode: {}
  - Resize: {target_size: [640, 640], keep_ratio: true, interp: 2}
  - NormalizeImage: {is_scale: true, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
  - Permute: {}
"""


def coco_static(short, long, more=""):
    return f"""
num_classes: 81
{more}
FPN: {{num_chan: 64}}
TrainReader: {{dataset: !COCODataSet {{anno_path: annotations/instances_train2017.json}}}}
TestReader:
  dataset: !ImageFolder {{anno_path: annotations/instances_val2017.json}}
  sample_transforms:
  - !DecodeImage {{to_rgb: true}}
  - !NormalizeImage {{is_channel_first: false, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
  - !ResizeImage {{target_size: {short}, max_size: {long}}}
  - !Permute {{to_bgr: false}}
"""


RPN = "FPNRPNHead: {num_chan: 64, anchor_start_size: 32}"
PUBLISHED = {
    1: (FASTER, coco_static(640, 640, f"{RPN}\nResNet: {{dcn_v2_stages: [3, 4, 5]}}")),
    2: (CASCADE, coco_static(1000, 1500, f"{RPN}\nResNet: {{depth: 50}}")),
    3: (CASCADE, coco_static(800, 1333, RPN)),
    4: (DYGRAPH, COCO_DYGRAPH),
}


#: The mapping where the class is named goes over the class's own section.
TWO_WEIGHTS = """
RCNNBox: {prior_box_var: [1, 2, 3, 4]}
BBoxPostProcess: {decode: {name: RCNNBox, prior_box_var: [5, 6, 7, 8]}}
"""


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_published_detectors(row):
    entry = next(entry for entry in ZOO if entry.row == row)
    found = read_varied(*PUBLISHED[row])
    for field in ("architecture", "numerics", "preprocessing", "labels", "title"):
        assert getattr(found, field) == getattr(entry, field)
    assert (found.row, found.checkpoint, found.published, found.sha256) == (0, "", None, "")


def test_a_variant_of_the_dygraph_format():
    entry = read_configuration(DYGRAPH)
    assert entry.name == "faster_parts"
    assert entry.architecture == Architecture(
        blocks=(3, 4, 23, 3), dcn_stages=(), fpn_channels=256, num_classes=3
    )
    assert entry.numerics == DYGRAPH_NUMERICS
    assert entry.preprocessing == Preprocessing(
        800, 1333, "linear", "first", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )
    assert entry.labels == ("class 0", "class 1", "class 2")
    assert summary(entry) == (
        "dygraph format, Faster R-CNN R101-vd, no DCN, FPN 256, 300 proposals, 3 classes (numbered),"
        " test size 800/1333"
    )


def test_variants_of_the_static_format():
    entry = read_configuration(FASTER)
    assert entry.architecture == Architecture(dcn_stages=(), fpn_channels=256, num_classes=3)
    assert entry.numerics == STATIC_NUMERICS
    assert entry.preprocessing == Preprocessing(800, 1333, "linear", "last")
    entry = read_configuration(CASCADE)
    weights = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
    sizes = (16.0, 32.0, 64.0, 128.0, 256.0)
    blocks = (3, 4, 23, 3)
    assert entry.architecture == Architecture(
        blocks=blocks, num_classes=3, anchor_sizes=sizes, reg_weights=weights
    )
    assert entry.preprocessing == Preprocessing(640, 960, "linear", "last")


@pytest.mark.parametrize(
    ("path", "changes", "field", "value"),
    [
        (DYGRAPH, "ResNet: {depth: 152}", "blocks", (3, 8, 36, 3)),
        (DYGRAPH, "ResNet: {ch_in: 32}", "stem_width", 16),
        (DYGRAPH, "ResNet: {dcn_v2_stages: 3}", "dcn_stages", (5,)),
        (DYGRAPH, "ResNet: {dcn_v2_stages: [3, 0, 3]}", "dcn_stages", (2, 5)),
        (DYGRAPH, "TwoFCHead: {out_channel: 128}", "head_width", 128),
        (DYGRAPH, "TwoFCHead: {in_channel: 9}", "head_width", 1024),
        (DYGRAPH, "num_classes: 676", "num_classes", 676),
        (DYGRAPH, "{BBoxHead: {num_classes: 3}, RCNNBox: {num_classes: 3}}", "num_classes", 3),
        (DYGRAPH, "RPNHead: {anchor_generator: {anchor_sizes: [[8]]}}", "anchor_sizes", (8.0,) * 5),
        (DYGRAPH, "RPNHead: {anchor_generator: {anchor_sizes: [24]}}", "anchor_sizes", (24.0,) * 5),
        (DYGRAPH, "RPNHead: {anchor_generator: {aspect_ratios: [1, 3]}}", "anchor_ratios", (1.0, 3.0)),
        (DYGRAPH, "RPNHead: {test_proposal: {pre_nms_top_n: 1000}}", "pre_nms_top_n", 1000),
        (DYGRAPH, "RPNHead: {test_proposal: {post_nms_top_n: 1000}}", "post_nms_top_n", 1000),
        (DYGRAPH, "RPNHead: {test_proposal: {min_size: 1}}", "post_nms_top_n", 300),
        (DYGRAPH, "RCNNBox: {prior_box_var: [1, 2, 3, 4]}", "reg_weights", ((1.0, 2.0, 3.0, 4.0),)),
        (
            DYGRAPH,
            TWO_WEIGHTS,
            "reg_weights",
            ((5.0, 6.0, 7.0, 8.0),),
        ),
        (DYGRAPH, "{norm_type: sync_bn, ResNet: {norm_type: null}}", "num_classes", 3),
        (
            DYGRAPH,
            "{BBoxAssigner: {fg_thresh: 0.6}, BBoxHead: {bbox_assigner: MyAssigner}, MyAssigner: {a: 1}}",
            "blocks",
            (3, 4, 23, 3),
        ),
        (FASTER, "ResNet: {dcn_v2_stages: [5, 2]}", "dcn_stages", (2, 5)),
        (FASTER, "{FPN: {num_chan: 96}, FPNRPNHead: {num_chan: 96}}", "fpn_channels", 96),
        (FASTER, "FPNRPNHead: {anchor_start_size: 12.5}", "anchor_sizes", (12.5, 25.0, 50.0, 100.0, 200.0)),
        (
            FASTER,
            "FPNRPNHead: {anchor_generator: {anchor_sizes: [1], stride: [1]}}",
            "anchor_sizes",
            (32.0, 64.0, 128.0, 256.0, 512.0),
        ),
        (FASTER, "BBoxHead: {num_classes: 8}", "num_classes", 7),
        (
            FASTER,
            "BBoxHead: {box_coder: {prior_box_var: [0.05, 0.05, 0.1, 0.1]}}",
            "reg_weights",
            ((20.0, 20.0, 10.0, 10.0),),
        ),
        (FASTER, "BBoxHead: {nms: MultiClassNMS}", "num_classes", 3),
        (
            CASCADE,
            "CascadeBBoxAssigner: {bbox_reg_weights: [8, 16, 24]}",
            "reg_weights",
            ((8.0, 8.0, 4.0, 4.0), (16.0, 16.0, 8.0, 8.0), (24.0, 24.0, 12.0, 12.0)),
        ),
    ],
)
def test_what_can_differ(path, changes, field, value):
    assert getattr(read_varied(path, changes).architecture, field) == value


def test_conventions_that_can_differ():
    found = read_varied(DYGRAPH, "BBoxHead: {roi_extractor: {aligned: false, sampling_ratio: 2}}").numerics
    assert (found.roi_aligned, found.roi_sampling_ratio) == (False, 2)
    # What the constructor does where the file says nothing.
    without = varied(DYGRAPH)
    del without.values["BBoxHead"]["roi_extractor"]["aligned"]
    assert describe(DYGRAPH, without).numerics.roi_aligned is False
    assert read_varied(FASTER, "FPNRoIAlign: {sampling_ratio: 0}").numerics.roi_sampling_ratio == 0
    assert read_varied(FASTER, "FPNRoIAlign: {sampling_ratio: 0}").numerics.roi_aligned is False


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("{target_size: 512, keep_ratio: true}", (512, 512, "linear")),
        ("{target_size: [1333, 800], keep_ratio: true, interp: 2}", (800, 1333, "cubic")),
    ],
)
def test_dygraph_test_sizes(steps, expected):
    reader = f"""
TestReader:
  sample_transforms: [{{Decode: {{}}}}, {{Resize: {steps}}}, \
{{NormalizeImage: {{std: [1, 1, 1]}}}}, {{Permute: {{}}}}]
  batch_transforms: [{{PadBatch: {{pad_to_stride: 64}}}}]
  inputs_def: {{image_shape: [3, 800, 1344]}}
"""
    found = read_varied(DYGRAPH, reader).preprocessing
    assert (found.short_side, found.long_side, found.interpolation, found.stride) == (*expected, 64)
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (1.0, 1.0, 1.0))


class TestEvalReader:
    """AP was measured with it: another test size than its own is noted, and nothing else."""

    @pytest.mark.parametrize(
        ("path", "resize"),
        [
            (DYGRAPH, "{Resize: {target_size: [640, 1333]}}"),
            (DYGRAPH, "{Resize: {target_size: 800}}"),
            (DYGRAPH, "{Resize: {target_size: [big]}}"),
            (FASTER, "!ResizeImage {target_size: 800, max_size: 1300}"),
        ],
    )
    def test_another_size(self, path, resize):
        loaded = varied(path, f"EvalReader: {{sample_transforms: [{{Decode: {{}}}}, {resize}]}}")
        note = evaluated_otherwise(describe(path, loaded), loaded)
        assert note.startswith("EvalReader resizes to ")
        assert "TestReader to 800/1333" in note

    @pytest.mark.parametrize(
        ("path", "reader"),
        [
            (DYGRAPH, "{sample_transforms: [{Decode: {}}, {Resize: {target_size: [1333, 800]}}]}"),
            (FASTER, "{sample_transforms: [!ResizeImage {target_size: 800, max_size: 1333}]}"),
            (DYGRAPH, "{sample_transforms: [5, {}, {Resize: 5}]}"),
            (DYGRAPH, "{sample_transforms: 5}"),
            (DYGRAPH, "reader.yml"),
        ],
    )
    def test_the_same_size_or_none(self, path, reader):
        loaded = varied(path, f"EvalReader: {reader}")
        assert evaluated_otherwise(describe(path, loaded), loaded) == ""

    def test_is_told_on_stderr(self, tmp_path, capsys):
        changes = "EvalReader: {sample_transforms: [{Resize: {target_size: [640, 1333]}}]}"
        read_configuration(write_varied(DYGRAPH, changes, tmp_path))
        captured = capsys.readouterr()
        assert "EvalReader resizes to 640/1333, TestReader to 800/1333, which is exported" in captured.err
        assert captured.out == ""


class TestNamesOfTheZoo:
    """A variant must not be taken for a published model in engines and reports."""

    @pytest.mark.parametrize("name", ["faster_rcnn_enhance_3x_coco", "mini_faster", "resnet50_vd_ssld"])
    def test_are_refused_for_another_model(self, tmp_path, name):
        path = write_varied(DYGRAPH, "{}", tmp_path).rename(tmp_path / f"{name}.yml")
        with pytest.raises(BadInput, match=f"the zoo's {name}; rename the file"):
            read_configuration(path)

    def test_are_taken_for_the_same_model(self, tmp_path):
        path = write_varied(*PUBLISHED[4], tmp_path).rename(tmp_path / "faster_rcnn_enhance_3x_coco.yml")
        assert read_configuration(path).name == "faster_rcnn_enhance_3x_coco"


@pytest.mark.parametrize(
    ("path", "changes", "labels"),
    [
        (DYGRAPH, COCO_DYGRAPH, COCO),
        (DYGRAPH, COCO_DYGRAPH + "metric: VOC\n", None),
        (DYGRAPH, COCO_DYGRAPH.replace("num_classes: 80", "num_classes: 81"), None),
        (DYGRAPH, "num_classes: 80", None),  # another data set of as many classes
        (DYGRAPH, COCO_DYGRAPH.replace("instances_train2017", "my_train"), None),
        (FASTER, "num_classes: 81", None),
        (FASTER, PUBLISHED[1][1].replace("instances_val2017", "instances_val2014"), None),
    ],
)
def test_names_of_cocos_classes_only_where_the_file_says_coco(path, changes, labels):
    found = read_varied(path, changes)
    numbered = tuple(f"class {index}" for index in range(found.architecture.num_classes))
    assert found.labels == (labels or numbered)


def test_coco_without_any_annotations_is_coco():
    bare = varied(DYGRAPH, "num_classes: 80")
    for use in ("Train", "Eval", "Test"):
        del bare.values[f"{use}Dataset"]
    assert describe(DYGRAPH, bare).labels == COCO
