"""What is not supported or not understood is named by its place, all of it, with what is supported."""

import re
from pathlib import Path

import pytest
from configurations import CASCADE, DYGRAPH, FASTER, read_varied, varied

from pssdet.errors import BadInput
from pssdet.models.configuration.yaml_files import Loaded
from pssdet.models.configuration.zoo_entry import describe, read_configuration


def refusal(path, changes):
    with pytest.raises(BadInput) as caught:
        read_varied(path, changes)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


SUPPORTED = {
    DYGRAPH: [
        ("ResNet: {depth: 34}", "ResNet.depth is 34 (supported: 50 or 101 or 152)"),
        ("ResNet: {variant: b}", 'ResNet.variant is "b" (supported: "d")'),
        ("ResNet: {norm_type: gn}", 'ResNet.norm_type is "gn" (supported: "bn" or "sync_bn")'),
        ("{norm_type: affine_channel, ResNet: {norm_type: null}}", 'norm_type is "affine_channel"'),
        ("ResNet: {groups: 32}", "ResNet.groups is 32 (supported: 1)"),
        ("ResNet: {std_senet: true}", "ResNet.std_senet is true (supported: false)"),
        ("ResNet: {return_idx: [1, 2, 3]}", "ResNet.return_idx is [1, 2, 3]"),
        ("ResNet: {dcn_v2_stages: [4]}", "ResNet.dcn_v2_stages is [4]"),
        ("ResNet: {dcn_v2_stages: []}", "ResNet.dcn_v2_stages is []"),
        ("FPN: {out_channel: 1000000}", "FPN.out_channel is 1000000 (supported: a whole number from 1 to 512)"),
        ("FPN: {out_channel: 64.0}", "FPN.out_channel is 64.0"),
        ("FPN: {out_channel: true}", "FPN.out_channel is true"),
        ("FPN: {norm_type: gn}", 'FPN.norm_type is "gn" (supported: null)'),
        ("FPN: {has_extra_convs: true}", "FPN.has_extra_convs is true"),
        ("FasterRCNN: {backbone: SENet}", 'FasterRCNN.backbone is "SENet" (supported: "ResNet")'),
        ("FasterRCNN: {neck: BFP}", 'FasterRCNN.neck is "BFP"'),
        ("FasterRCNN: {mask_head: MaskHead}", "FasterRCNN.mask_head is not understood"),
        ("RPNHead: {anchor_generator: {strides: [8, 16, 32, 64, 128]}}", "RPNHead.anchor_generator.strides is"),
        ("RPNHead: {anchor_generator: {offset: 0.5}}", "RPNHead.anchor_generator.offset is 0.5 (supported: 0)"),
        (
            "RPNHead: {anchor_generator: {anchor_sizes: [[8, 16], [32], [64], [128], [256]]}}",
            "anchor_sizes is [[8, 16]",
        ),
        ("RPNHead: {anchor_generator: {anchor_sizes: [32, 64, 128, 256, 512]}}", "anchor_sizes is [32, 64"),
        ("RPNHead: {anchor_generator: {aspect_ratios: [[1], [2]]}}", "aspect_ratios is [[1], [2]]"),
        ("RPNHead: {anchor_generator: {aspect_ratios: [0]}}", "aspect_ratios is [0]"),
        (
            "RPNHead: {test_proposal: {nms_thresh: 0.5}}",
            "RPNHead.test_proposal.nms_thresh is 0.5 (supported: 0.7)",
        ),
        ("RPNHead: {test_proposal: {min_size: 8}}", "RPNHead.test_proposal.min_size is 8"),
        (
            "RPNHead: {test_proposal: {topk_after_collect: true}}",
            "RPNHead.test_proposal.topk_after_collect is true",
        ),
        ("RPNHead: {test_proposal: {pre_nms_top_n: 0}}", "RPNHead.test_proposal.pre_nms_top_n is 0"),
        (
            "BBoxHead: {roi_extractor: {resolution: 14}}",
            "BBoxHead.roi_extractor.resolution is 14 (supported: 7)",
        ),
        (
            "BBoxHead: {roi_extractor: {aligned: 1}}",
            "BBoxHead.roi_extractor.aligned is 1 (supported: true or false)",
        ),
        ("BBoxHead: {head: XConvNormHead}", 'BBoxHead.head is "XConvNormHead" (supported: "TwoFCHead")'),
        ("BBoxHead: {with_pool: true}", "BBoxHead.with_pool is true"),
        ("use_cot: true", "use_cot is true (supported: false)"),
        ("num_classes: 0", "num_classes is 0 (supported: a whole number from 1 to 2000)"),
        (
            "BBoxPostProcess: {num_classes: 4}",
            "BBoxPostProcess.num_classes is 4 (supported: 3, as num_classes says)",
        ),
        ("RCNNBox: {num_classes: 4}", "RCNNBox.num_classes is 4"),
        ("BBoxPostProcess: {nms: {keep_top_k: 300}}", "BBoxPostProcess.nms.keep_top_k is 300 (supported: 100)"),
        (
            "BBoxPostProcess: {nms: {score_threshold: 0.01}}",
            "BBoxPostProcess.nms.score_threshold is 0.01 (supported: 0.05)",
        ),
        (
            "BBoxPostProcess: {nms: {nms_threshold: 0.6}}",
            "BBoxPostProcess.nms.nms_threshold is 0.6 (supported: 0.5)",
        ),
        ("BBoxPostProcess: {nms: {nms_eta: 1.1}}", "BBoxPostProcess.nms.nms_eta is 1.1"),
        ("BBoxPostProcess: {nms: {trt: true}}", "BBoxPostProcess.nms.trt is true"),
        (
            "BBoxPostProcess: {nms: {name: MatrixNMS}}",
            'BBoxPostProcess.nms.name is "MatrixNMS" (supported: "MultiClassNMS")',
        ),
        ("MultiClassNMS: {nms_top_k: 50}", "MultiClassNMS.nms_top_k is 50 (supported: -1)"),
        (
            "TestReader: {batch_transforms: [{PadBatch: {pad_to_stride: 33}}]}",
            "TestReader.batch_transforms.PadBatch.pad_to_stride is 33",
        ),
        ("TestReader: {batch_transforms: []}", 'TestReader.batch_transforms is [] (supported: ["PadBatch"])'),
        (
            "TestReader: {sample_transforms: [{Decode: {}}]}",
            'TestReader.sample_transforms is ["Decode"] (supported: ["Decode", "Resize"',
        ),
        ("TestReader: {sample_transforms: [5, !Resize {}]}", 'TestReader.sample_transforms is ["5",'),
        (
            "TestReader: {inputs_def: {multi_scale: true}}",
            "TestReader.inputs_def.multi_scale is not understood",
        ),
        ("slim: QAT", "slim is not understood"),
        ("MaskHead: {}", "MaskHead is not understood"),
        (r'{"a b\e[31m": 1}', r'"a b\u001b[31m" is not understood'),
        ("ResNet: null", "ResNet is null (supported: a mapping)"),
        ("ResNet: [1]", "ResNet is [1] (supported: a mapping)"),
        (
            "RPNHead: {anchor_generator: AnchorGenerator}",
            'RPNHead.anchor_generator is "AnchorGenerator" (supported: a mapping)',
        ),
        ("architecture: MaskRCNN", 'architecture is "MaskRCNN" (supported: in the dygraph format FasterRCNN)'),
        ("architecture: CascadeRCNN", "averages scores of different regions"),
        ("max_iters: 5", "mixes the dygraph format"),
    ],
    FASTER: [
        ("ResNet: {norm_type: affine_channel}", 'ResNet.norm_type is "affine_channel"'),
        ("norm_type: gn", 'norm_type is "gn" (supported: null)'),  # shared with the FPN
        ("ResNet: {nonlocal_stages: [4]}", "ResNet.nonlocal_stages is [4] (supported: [])"),
        ("ResNet: {gcb_stages: [3]}", "ResNet.gcb_stages is [3]"),
        ("ResNet: {depth: 200}", "ResNet.depth is 200"),
        ("ResNet: {feature_maps: [5]}", "ResNet.feature_maps is [5]"),
        ("weight_prefix_name: x", 'weight_prefix_name is "x"'),
        ("FPN: {max_level: 5}", "FPN.max_level is 5 (supported: 6)"),
        ("FPN: {num_chan: 128}", "FPNRPNHead.num_chan is 256 (supported: 128)"),
        ("FPNRPNHead: {num_classes: 2}", "FPNRPNHead.num_classes is 2"),
        (
            "FPNRPNHead: {anchor_generator: {variance: [0.1, 0.1, 0.2, 0.2]}}",
            "FPNRPNHead.anchor_generator.variance is",
        ),
        ("FPNRoIAlign: {box_resolution: 14}", "FPNRoIAlign.box_resolution is 14 (supported: 7)"),
        ("FasterRCNN: {rpn_only: true}", "FasterRCNN.rpn_only is true"),
        ("FasterRCNN: {fpn: null}", 'FasterRCNN.fpn is null (supported: "FPN")'),
        ("FasterRCNN: {roi_extractor: RoIAlign}", 'FasterRCNN.roi_extractor is "RoIAlign"'),
        (
            "BBoxHead: {nms: MultiClassSoftNMS}",
            'BBoxHead.nms is "MultiClassSoftNMS" (supported: "MultiClassNMS")',
        ),
        ("BBoxHead: {nms: !MultiClassSoftNMS {score_threshold: 0.01}}", 'BBoxHead.nms is "!MultiClassSoftNMS"'),
        ("BBoxHead: {nms: {background_label: -1}}", "BBoxHead.nms.background_label is -1 (supported: 0)"),
        ("BBoxHead: {nms: {normalized: true}}", "BBoxHead.nms.normalized is true"),
        ("BBoxHead: {box_coder: {axis: 0}}", "BBoxHead.box_coder.axis is 0"),
        ("num_classes: 1", "num_classes is 1 (supported: a whole number from 2 to 2001)"),
        (
            "TestReader: {dataset: !ImageFolder {with_background: false}}",
            "TestReader.dataset.with_background must be true",
        ),
        (
            "TestReader: {batch_transforms: [!PadBatch {pad_to_stride: 64}]}",
            "TestReader.batch_transforms.PadBatch.pad_to_stride is 64 (supported: 32)",
        ),
        (
            "TestReader: {batch_transforms: [!PadBatch {pad_to_stride: 32, use_padded_im_info: false}]}",
            "use_padded_im_info is false",
        ),
        ("MultiScaleTEST: {score_thresh: 0.05}", "MultiScaleTEST is not understood"),
        ("architecture: CascadeRCNNClsAware", "supported: in the static format FasterRCNN or CascadeRCNN"),
        ("_BASE_: [x.yml]", "_BASE_ is not understood"),
        (
            "RPNHead: {anchor_generator: {}}",
            "mixes the dygraph format (RPNHead.anchor_generator) with the static one",
        ),
    ],
    CASCADE: [
        ("CascadeBBoxHead: {head: CascadeXConvNormHead}", 'CascadeBBoxHead.head is "CascadeXConvNormHead"'),
        ("CascadeBBoxAssigner: {class_aware: true}", "CascadeBBoxAssigner.class_aware is true"),
        (
            "CascadeBBoxAssigner: {bbox_reg_weights: [10, 20]}",
            "CascadeBBoxAssigner.bbox_reg_weights is [10, 20]",
        ),
        (
            "FPNRoIAlign: {sampling_ratio: 0}",
            "FPNRoIAlign.sampling_ratio is 0 (supported: a whole number from 1 to 8)",
        ),
        ("CascadeRCNN: {bbox_assigner: CascadeLibraBBoxAssigner}", "CascadeRCNN.bbox_assigner is"),
    ],
}


@pytest.mark.parametrize(
    ("path", "changes", "words"), [(path, *case) for path, cases in SUPPORTED.items() for case in cases]
)
def test_what_is_not_supported_is_named(path, changes, words):
    assert words in refusal(path, changes)


@pytest.mark.parametrize(
    ("step", "changes", "words"),
    [
        ("DecodeImage", {"to_rgb": False}, "DecodeImage.to_rgb is false (supported: true)"),
        (
            "NormalizeImage",
            {"is_channel_first": True},
            "NormalizeImage.is_channel_first is true (supported: false)",
        ),
        ("NormalizeImage", {"is_channel_first": None}, "is_channel_first is not given, which means true"),
        ("NormalizeImage", {"is_scale": False}, "NormalizeImage.is_scale is false"),
        ("NormalizeImage", {"std": [1, 1, 0]}, "NormalizeImage.std is [1, 1, 0]"),
        ("ResizeImage", {"max_size": None}, "ResizeImage.max_size is not given, which means 0"),
        ("ResizeImage", {"target_size": [640, 800]}, "ResizeImage.target_size is [640, 800]"),
        ("ResizeImage", {"use_cv2": False}, "ResizeImage.use_cv2 is false"),
        ("ResizeImage", {"interp": 3}, "ResizeImage.interp is 3 (supported: 1 or 2)"),
        ("Permute", {"to_bgr": None}, "Permute.to_bgr is not given, which means true (supported: false)"),
        ("Permute", {"channel_first": False}, "Permute.channel_first is false"),
    ],
)
def test_static_steps_and_what_they_do_by_themselves(step, changes, words):
    loaded = varied(FASTER)
    for each in loaded.values["TestReader"]["sample_transforms"]:
        if each.tag == f"!{step}":
            for key, value in changes.items():
                each.value.pop(key, None)
                each.value.update({} if value is None else {key: value})
    with pytest.raises(BadInput, match=re.escape(words)):
        describe(FASTER, loaded)


def test_defaults_that_are_not_supported_are_named():
    """A key that the file leaves out counts as what the constructor makes of it."""
    loaded = varied(DYGRAPH)
    values = loaded.values
    del (
        values["ResNet"]["variant"],
        values["RPNHead"]["test_proposal"]["nms_thresh"],
        values["FPN"]["out_channel"],
    )
    del values["BBoxHead"]["roi_extractor"], values["BBoxPostProcess"]["nms"]
    values["TestReader"]["sample_transforms"][1]["Resize"].pop("keep_ratio")
    values["TestReader"]["sample_transforms"][2]["NormalizeImage"].pop("std")
    with pytest.raises(BadInput) as caught:
        describe(DYGRAPH, loaded)
    for words in (
        'ResNet.variant is not given, which means "b" (supported: "d")',
        "RPNHead.test_proposal.nms_thresh is not given, which means 0.5 (supported: 0.7)",
        "FPN.out_channel is missing (supported: a whole number from 1 to 512)",
        "BBoxHead.roi_extractor.resolution is not given, which means 14 (supported: 7)",
        'BBoxPostProcess.nms is missing (supported: "MultiClassNMS")',
        "TestReader.sample_transforms.Resize.keep_ratio is missing (supported: true)",
        "TestReader.sample_transforms.NormalizeImage.std is missing (supported: a list of 3 numbers",
    ):
        assert words in str(caught.value)


def test_everything_is_named_at_once():
    changes = (
        "{ResNet: {variant: b, groups: 2}, FPN: {norm_type: gn}, slim: x,"
        " BBoxPostProcess: {nms: {keep_top_k: 5}}}"
    )
    message = refusal(DYGRAPH, changes)
    for place in ("ResNet.variant", "ResNet.groups", "FPN.norm_type", "slim", "BBoxPostProcess.nms.keep_top_k"):
        assert message.count(place) == 1
    crowd = refusal(DYGRAPH, "{" + ", ".join(f"unknown{index}: 1" for index in range(150)) + "}")
    assert "unknown99 is not understood; 50 more; docs/" in crowd


def test_a_static_detector_has_no_bases(tmp_path):
    path = tmp_path / "top.yml"
    path.write_text(f"_BASE_: [{FASTER}]\n")
    with pytest.raises(BadInput, match="_BASE_ is not known to the static program"):
        read_configuration(path)


def test_other_files():
    for values in ({"architecture": "YOLOv3", "YOLOv3": {}}, {"a": 1}, {}):
        with pytest.raises(BadInput, match="no configuration of a two-stage detector"):
            describe(Path("x.yml"), Loaded(values, has_bases=False))
