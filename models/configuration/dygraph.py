"""A configuration in the dygraph format of 2021 and later, with its classes' defaults for what it leaves out.

Every ``get`` names the default of PaddleDetection's constructor; they are the same from release 2.0
to 2.7 and in the development branch of October 2024, but for ``NormalizeImage.std``, which must be given.
"""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import ROI_CANONICAL_LEVEL, ROI_CANONICAL_SIZE, ROI_LEVELS, ROI_SIZE, Architecture
from pssdet.models.configuration.node import ConfigNode, ConfigValue, component, described, is_number, repr_yaml
from pssdet.models.configuration.preprocessing import dygraph_preprocessing
from pssdet.models.configuration.variant import (
    MAX_ANCHOR,
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_HEAD_WIDTH,
    MAX_RATIO,
    MAX_SAMPLING_RATIO,
    Variant,
    four,
    proposal_counts,
    resnet_blocks,
    suppression,
)
from pssdet.models.numerics import DYGRAPH

#: Keys at the top of the file that do not change what a trained detector finds.
IRRELEVANT = (
    *("TrainReader", "EvalReader", "TrainDataset", "EvalDataset", "TestDataset", "worker_num", "metric", "map_type"),
    *("epoch", "cycle_epoch", "LearningRate", "OptimizerBuilder", "early_stop", "find_unused_parameters", "to_static"),
    *("use_ema", "use_simple_ema", "ema_decay", "ema_decay_type", "ema_black_list", "ema_filter_no_grad"),
    *("amp", "amp_level", "fp16", "master_grad", "init_loss_scaling", "custom_black_list", "custom_white_list"),
    *("pretrain_weights", "weights", "finetune_exclude_pretrained_params", "filename", "save_dir", "snapshot_epoch"),
    *("use_gpu", "use_xpu", "use_mlu", "use_npu", "use_gcu", "fleet", "use_fused_allreduce_gradients"),
    *("log_iter", "log_ranks", "print_flops", "print_params", "print_mem_info", "profiler_options"),
    *("use_vdl", "vdl_log_dir", "use_wandb", "wandb", "classwise", "output_eval", "save_prediction_only"),
    *("save_proposals", "target_metrics", "export", "export_onnx", "export_eb"),
    *("BBoxAssigner", "BBoxLibraAssigner", "RPNTargetAssign", "DIouLoss", "GIoULoss", "SmoothL1Loss", "COTLoss"),
)
_STRIDES = [4, 8, 16, 32, 64]


def read_dygraph(root: ConfigNode) -> Variant:
    """The detector; what is not understood goes to ``root.errors``."""
    root.ignore(*IRRELEVANT)
    faster = root.child("FasterRCNN")
    backbone = _backbone(component(faster.get("backbone"), root, "ResNet"), root)
    channels = _neck(component(faster.get("neck", None), root, "FPN"))
    sizes, ratios, before, after = _proposals(component(faster.get("rpn_head"), root, "RPNHead"))
    head = component(faster.get("bbox_head"), root, "BBoxHead")
    width, aligned, sampling = _head(head, root)
    classes = head.shared("num_classes", root, 80)
    post = component(faster.get("bbox_post_process"), root, "BBoxPostProcess")
    architecture = msgspec.structs.replace(
        backbone,
        fpn_channels=channels,
        head_width=width,
        num_classes=classes.integer(1, MAX_CLASSES),
        anchor_sizes=sizes,
        anchor_ratios=ratios,
        pre_nms_top_n=before,
        post_nms_top_n=after,
        reg_weights=(_post_process(post, root, classes),),
    )
    numerics = msgspec.structs.replace(DYGRAPH, roi_aligned=aligned, roi_sampling_ratio=sampling)
    return Variant(architecture, numerics, dygraph_preprocessing(root))


def _backbone(resnet: ConfigNode, root: ConfigNode) -> Architecture:
    resnet.ignore("freeze_at", "freeze_norm", "freeze_stem_only", "lr_mult_list", "norm_decay")
    blocks = resnet_blocks(resnet, root, "bn")
    resnet.get("groups", 1).only(1)
    resnet.get("base_width", 64).only(64)
    resnet.get("num_stages", 4).only(4)
    resnet.get("return_idx", [0, 1, 2, 3]).only([0, 1, 2, 3])
    resnet.get("std_senet", default=False).must_be_false()
    return Architecture(
        blocks=blocks,
        stem_width=resnet.get("ch_in", 64).integer(2, 256, step=2) // 2,
        dcn_stages=_dcn_stages(resnet.get("dcn_v2_stages", [-1])),
    )


def _dcn_stages(setting: ConfigValue) -> tuple[int, ...]:
    """Index 0 is res2; -1 is none."""
    value = setting.value if isinstance(setting.value, list) else [setting.value]
    indices = [each for each in value if isinstance(each, int) and is_number(each, -1, 3)]
    if indices and len(indices) == len(value):
        return tuple(sorted({each + 2 for each in indices if each >= 0}))
    setting.refuse("stages as whole numbers from 0 to 3, or -1 for none")
    return ()


def _neck(fpn: ConfigNode) -> int:
    fpn.ignore("in_channels", "spatial_scales", "use_c5", "norm_decay", "freeze_norm", "relu_before_extra_convs")
    fpn.get("has_extra_convs", default=False).must_be_false()
    fpn.get("extra_stage", 1).only(1)
    fpn.get("norm_type", None).only(None)
    return fpn.get("out_channel").integer(1, MAX_CHANNELS)


def _proposals(rpn: ConfigNode) -> tuple[tuple[float, ...], tuple[float, ...], int, int]:
    """Anchor sizes and ratios, candidates per level, proposals."""
    rpn.ignore("rpn_target_assign", "train_proposal", "in_channel", "export_onnx", "loss_rpn_bbox")
    test = rpn.child("test_proposal")
    test.get("topk_after_collect", default=False).must_be_false()
    return *_anchors(rpn.child("anchor_generator")), *proposal_counts(test, 12_000, 2000)


def _anchors(generator: ConfigNode) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sizes, one for each level, and ratios. The variance is not used by the original either."""
    generator.ignore("variance")
    generator.get("strides", [16.0]).only(_STRIDES)
    generator.get("offset", 0.0).only(0)
    ratios = generator.get("aspect_ratios", [0.5, 1.0, 2.0]).numbers(0, 1 / MAX_RATIO, MAX_RATIO)
    setting = generator.get("anchor_sizes", [32, 64, 128, 256, 512])
    levels = setting.value if isinstance(setting.value, list) else []
    if levels and not isinstance(levels[0], list):
        levels = [levels]  # every level has all of them
    if len(levels) == 1:
        levels = levels * len(_STRIDES)
    if len(levels) == len(_STRIDES) and all(_is_one_size(level) for level in levels):
        return tuple(float(level[0]) for level in levels), ratios
    setting.refuse("one size for each of the 5 levels, as [[32], [64], [128], [256], [512]]")
    return (1.0,) * len(_STRIDES), ratios


def _is_one_size(level: object) -> bool:
    return isinstance(level, list) and len(level) == 1 and is_number(level[0], 1.0, MAX_ANCHOR)


def _head(head: ConfigNode, root: ConfigNode) -> tuple[int, bool, int]:
    """Width of the layers, and RoIAlign's ``aligned`` and sampling ratio."""
    head.ignore("in_channel", "bbox_assigner", "bbox_weight", "bbox_loss", "loss_normalize_pos")
    head.ignore("cot_classes", "loss_cot")
    for name in ("bbox_assigner", "bbox_loss"):
        if isinstance(training := head.get(name, None).value, str):
            root.ignore(training)
    head.get("with_pool", default=False).must_be_false()
    head.shared("use_cot", root, default=False).must_be_false()
    roi = head.child("roi_extractor")
    roi.ignore("spatial_scale")
    roi.get("resolution", 14).only(ROI_SIZE)
    roi.get("canconical_level", 4).only(ROI_CANONICAL_LEVEL)
    roi.get("canonical_size", 224).only(ROI_CANONICAL_SIZE)
    roi.get("start_level", 0).only(min(ROI_LEVELS) - 2)
    roi.get("end_level", 3).only(max(ROI_LEVELS) - 2)
    layers = component(head.get("head"), root, "TwoFCHead")
    layers.ignore("in_channel")
    layers.get("resolution", 7).only(ROI_SIZE)
    return (
        layers.get("out_channel", 1024).integer(1, MAX_HEAD_WIDTH),
        roi.get("aligned", default=False).boolean(),
        roi.get("sampling_ratio", 0).integer(0, MAX_SAMPLING_RATIO),
    )


def _post_process(post: ConfigNode, root: ConfigNode, classes: ConfigValue) -> tuple[float, float, float, float]:
    """Regression weights; the rest must be the family's."""
    post.ignore("export_onnx", "export_eb")
    nms = described(post.get("nms"), root, "MultiClassNMS")
    nms.ignore("return_index", "return_rois_num", "cpu")
    suppression(nms)
    nms.get("normalized", default=True).must_be_true()
    nms.get("trt", default=False).must_be_false()
    decode = described(post.get("decode"), root, "RCNNBox")
    decode.ignore("code_type", "box_normalized", "export_onnx")
    for counting in (post.shared("num_classes", root, 80), decode.shared("num_classes", root, 80)):
        if counting.value != classes.value:
            counting.refuse(f"{repr_yaml(classes.value)}, as {classes.place} says")
    return four(decode.get("prior_box_var", [10.0, 10.0, 5.0, 5.0]), 0.01, 1000.0)
