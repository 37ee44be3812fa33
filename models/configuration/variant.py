"""The detector that a configuration describes, in the dygraph format of 2021 or the static one of 2020.

``get`` names the default of PaddleDetection's constructor, ``fixed`` those that nothing
may replace. Dygraph defaults are those of releases 2.0 to 2.7 and of October 2024, but
for ``NormalizeImage.std``, which must be given; static ones those of releases 0.3 to 2.4.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pssdet.models.architecture import (
    MAX_DETECTIONS,
    NMS_THRESHOLD,
    ROI_CANONICAL_LEVEL,
    ROI_CANONICAL_SIZE,
    ROI_LEVELS,
    ROI_SIZE,
    RPN_MIN_SIZE,
    RPN_NMS_THRESHOLD,
    SCORE_THRESHOLD,
    Architecture,
)
from pssdet.models.configuration.node import ConfigNode, ConfigValue, component, described, is_number, repr_yaml
from pssdet.models.configuration.preprocessing import dygraph_preprocessing, static_preprocessing
from pssdet.models.numerics import DYGRAPH, STATIC, Numerics
from pssdet.models.reader import Preprocessing

#: What can be built: enough for every published detector, and little enough for memory.
MAX_CLASSES = 2000
MAX_CHANNELS = 512
MAX_HEAD_WIDTH = 4096
MAX_PRE_NMS = 12_000
MAX_PROPOSALS = 2000
MAX_SAMPLING_RATIO = 8
MAX_ANCHOR = 8192.0
MAX_RATIO = 100.0

#: Bottleneck blocks by depth; at depth 200 the original numbers its blocks in a way of its own.
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
#: Normalisations that compute alike once trained, under the same parameter names.
NORMS = ("bn", "sync_bn")
#: Keys at the top of each format's files that do not change what a trained detector finds.
DYGRAPH_IRRELEVANT = (
    *(
        "TrainReader",
        "EvalReader",
        "TrainDataset",
        "EvalDataset",
        "TestDataset",
        "worker_num",
        "metric",
        "map_type",
    ),
    *(
        "epoch",
        "cycle_epoch",
        "LearningRate",
        "OptimizerBuilder",
        "early_stop",
        "find_unused_parameters",
        "to_static",
    ),
    *("use_ema", "use_simple_ema", "ema_decay", "ema_decay_type", "ema_black_list", "ema_filter_no_grad"),
    *("amp", "amp_level", "fp16", "master_grad", "init_loss_scaling", "custom_black_list", "custom_white_list"),
    *(
        "pretrain_weights",
        "weights",
        "finetune_exclude_pretrained_params",
        "filename",
        "save_dir",
        "snapshot_epoch",
    ),
    *("use_gpu", "use_xpu", "use_mlu", "use_npu", "use_gcu", "fleet", "use_fused_allreduce_gradients"),
    *("log_iter", "log_ranks", "print_flops", "print_params", "print_mem_info", "profiler_options"),
    *("use_vdl", "vdl_log_dir", "use_wandb", "wandb", "classwise", "output_eval", "save_prediction_only"),
    *("save_proposals", "target_metrics", "export", "export_onnx", "export_eb"),
    *(
        "BBoxAssigner",
        "BBoxLibraAssigner",
        "RPNTargetAssign",
        "DIouLoss",
        "GIoULoss",
        "SmoothL1Loss",
        "COTLoss",
    ),
)
STATIC_IRRELEVANT = (
    *(
        "TrainReader",
        "EvalReader",
        "metric",
        "map_type",
        "max_iters",
        "snapshot_iter",
        "log_iter",
        "log_smooth_window",
    ),
    *("LearningRate", "OptimizerBuilder", "use_ema", "ema_decay", "save_dir", "weights", "pretrain_weights"),
    *("finetune_exclude_pretrained_params", "use_gpu", "use_xpu", "use_fine_grained_loss", "train_batch_size"),
    *("freeze_norm", "BBoxAssigner", "LibraBBoxAssigner", "CascadeBBoxAssigner", "RPNTargetAssign"),
    *("SmoothL1Loss", "BalancedL1Loss", "DiouLoss", "GiouLoss"),
)
_STRIDES = [4, 8, 16, 32, 64]
_CANONICAL = {"canconical_level": ROI_CANONICAL_LEVEL, "canonical_size": ROI_CANONICAL_SIZE}


class Variant(NamedTuple):
    """A detector of the family."""

    architecture: Architecture
    numerics: Numerics
    preprocessing: Preprocessing


def read_dygraph(root: ConfigNode) -> Variant:
    """The detector; what is not understood goes to ``root.errors``."""
    root.ignore(*DYGRAPH_IRRELEVANT)
    faster = root.child("FasterRCNN")
    backbone = _dygraph_backbone(component(faster.get("backbone"), root, "ResNet"), root)
    channels = _dygraph_neck(component(faster.get("neck", None), root, "FPN"))
    sizes, ratios, before, after = _dygraph_proposals(component(faster.get("rpn_head"), root, "RPNHead"))
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


def _dygraph_backbone(resnet: ConfigNode, root: ConfigNode) -> Architecture:
    resnet.ignore("freeze_at", "freeze_norm", "freeze_stem_only", "lr_mult_list", "norm_decay")
    blocks = _resnet_blocks(resnet, root, "bn")
    resnet.fixed(groups=1, base_width=64, num_stages=4, return_idx=[0, 1, 2, 3], std_senet=False)
    return Architecture(
        blocks=blocks,
        stem_width=resnet.get("ch_in", 64).integer(2, 256, step=2) // 2,
        dcn_stages=_dygraph_dcn_stages(resnet.get("dcn_v2_stages", [-1])),
    )


def _dygraph_dcn_stages(setting: ConfigValue) -> tuple[int, ...]:
    """Index 0 is res2; -1 is none."""
    value = setting.value if isinstance(setting.value, list) else [setting.value]
    indices = [each for each in value if isinstance(each, int) and is_number(each, -1, 3)]
    if indices and len(indices) == len(value):
        return tuple(sorted({each + 2 for each in indices if each >= 0}))
    setting.refuse("stages as whole numbers from 0 to 3, or -1 for none")
    return ()


def _dygraph_neck(fpn: ConfigNode) -> int:
    fpn.ignore(
        "in_channels", "spatial_scales", "use_c5", "norm_decay", "freeze_norm", "relu_before_extra_convs"
    )
    fpn.fixed(has_extra_convs=False, extra_stage=1, norm_type=None)
    return fpn.get("out_channel").integer(1, MAX_CHANNELS)


def _dygraph_proposals(rpn: ConfigNode) -> tuple[tuple[float, ...], tuple[float, ...], int, int]:
    """Anchor sizes and ratios, candidates per level, proposals."""
    rpn.ignore("rpn_target_assign", "train_proposal", "in_channel", "export_onnx", "loss_rpn_bbox")
    test = rpn.child("test_proposal")
    test.fixed(topk_after_collect=False)
    return *_anchors(rpn.child("anchor_generator")), *_proposal_counts(test, 12_000, 2000)


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
    head.fixed(with_pool=False)
    head.shared("use_cot", root, default=False).only(False)  # noqa: FBT003
    roi = head.child("roi_extractor")
    roi.ignore("spatial_scale")
    roi.get("resolution", 14).only(ROI_SIZE)
    roi.fixed(**_CANONICAL, start_level=min(ROI_LEVELS) - 2, end_level=max(ROI_LEVELS) - 2)
    layers = component(head.get("head"), root, "TwoFCHead")
    layers.ignore("in_channel")
    layers.fixed(resolution=ROI_SIZE)
    return (
        layers.get("out_channel", 1024).integer(1, MAX_HEAD_WIDTH),
        roi.get("aligned", default=False).boolean(),
        roi.get("sampling_ratio", 0).integer(0, MAX_SAMPLING_RATIO),
    )


def _post_process(
    post: ConfigNode, root: ConfigNode, classes: ConfigValue
) -> tuple[float, float, float, float]:
    """Regression weights; the rest must be the family's."""
    post.ignore("export_onnx", "export_eb")
    nms = described(post.get("nms"), root, "MultiClassNMS")
    nms.ignore("return_index", "return_rois_num", "cpu")
    _suppression(nms)
    nms.fixed(normalized=True, trt=False)
    decode = described(post.get("decode"), root, "RCNNBox")
    decode.ignore("code_type", "box_normalized", "export_onnx")
    for counting in (post.shared("num_classes", root, 80), decode.shared("num_classes", root, 80)):
        if counting.value != classes.value:
            counting.refuse(f"{repr_yaml(classes.value)}, as {classes.place} says")
    return _four(decode.get("prior_box_var", [10.0, 10.0, 5.0, 5.0]), 0.01, 1000.0)


def read_static(root: ConfigNode, architecture: str) -> Variant:
    """The detector, ``FasterRCNN`` or ``CascadeRCNN``; what is not understood goes to ``root.errors``."""
    root.ignore(*STATIC_IRRELEVANT)
    cascade = architecture == "CascadeRCNN"
    parts = root.child(architecture)
    parts.fixed(rpn_only=False)
    backbone = _static_backbone(component(parts.get("backbone"), root, "ResNet"), root)
    fpn = component(parts.get("fpn", "FPN" if cascade else None), root, "FPN")
    channels = _static_neck(fpn, root)
    sizes, ratios, before, after = _static_proposals(
        component(parts.get("rpn_head"), root, "FPNRPNHead"), channels
    )
    extractor = parts.get("roi_extractor", "FPNRoIAlign" if cascade else "")
    sampling = _roi_align(component(extractor, root, "FPNRoIAlign"), cascade=cascade)
    name = "CascadeBBoxHead" if cascade else "BBoxHead"
    head = component(parts.get("bbox_head", name), root, name)
    if isinstance(loss := head.get("bbox_loss", None).value, str):
        root.ignore(loss)
    assigner = parts.get("bbox_assigner", "CascadeBBoxAssigner" if cascade else "BBoxAssigner")
    if not cascade and isinstance(assigner.value, str):
        root.ignore(assigner.value)
    changed = msgspec.structs.replace(
        backbone,
        fpn_channels=channels,
        head_width=_width(head, root, cascade=cascade),
        num_classes=head.shared("num_classes", root, 81).integer(2, MAX_CLASSES + 1) - 1,
        anchor_sizes=sizes,
        anchor_ratios=ratios,
        pre_nms_top_n=before,
        post_nms_top_n=after,
        reg_weights=_cascade_weights(component(assigner, root, "CascadeBBoxAssigner"))
        if cascade
        else (_faster_weights(head),),
    )
    _static_suppression(head.get("nms", {}), root)
    return Variant(
        changed, msgspec.structs.replace(STATIC, roi_sampling_ratio=sampling), static_preprocessing(root)
    )


def _static_backbone(resnet: ConfigNode, root: ConfigNode) -> Architecture:
    resnet.ignore("freeze_at", "freeze_norm", "norm_decay", "lr_mult_list", "gcb_params")
    blocks = _resnet_blocks(resnet, root, "affine_channel")
    resnet.fixed(feature_maps=[2, 3, 4, 5], nonlocal_stages=[], gcb_stages=[])
    resnet.shared("weight_prefix_name", root, "").only("")
    return Architecture(blocks=blocks, dcn_stages=_static_dcn_stages(resnet.get("dcn_v2_stages", [])))


def _static_dcn_stages(setting: ConfigValue) -> tuple[int, ...]:
    value = setting.value
    if isinstance(value, list) and all(isinstance(each, int) and is_number(each, 2, 5) for each in value):
        return tuple(sorted(set(value)))
    setting.refuse("a list of stages from 2 to 5")
    return ()


def _static_neck(fpn: ConfigNode, root: ConfigNode) -> int:
    fpn.ignore("norm_decay", "freeze_norm", "use_c5")
    fpn.fixed(min_level=2, max_level=6, spatial_scale=[0.03125, 0.0625, 0.125, 0.25])
    fpn.fixed(has_extra_convs=False, reverse_out=False)
    # Where FPN is silent, a norm_type at the top of the file counts here too.
    fpn.shared("norm_type", root, None).only(None)
    return fpn.get("num_chan", 256).integer(1, MAX_CHANNELS)


def _static_proposals(rpn: ConfigNode, channels: int) -> tuple[tuple[float, ...], tuple[float, ...], int, int]:
    """Anchor sizes and ratios, candidates per level, proposals."""
    rpn.ignore("rpn_target_assign", "train_proposal")
    rpn.fixed(min_level=2, max_level=6, num_classes=1)
    rpn.get("num_chan", 256).only(channels)
    start = rpn.get("anchor_start_size", 32).number(1.0, MAX_ANCHOR / (1 << len(_STRIDES)))
    generator = rpn.child("anchor_generator")
    # The original computes both from anchor_start_size and the level.
    generator.ignore("anchor_sizes", "stride")
    generator.fixed(variance=[1, 1, 1, 1])
    ratios = generator.get("aspect_ratios", [0.5, 1.0, 2.0]).numbers(0, 1 / MAX_RATIO, MAX_RATIO)
    before, after = _proposal_counts(rpn.child("test_proposal"), 6000, 1000)
    return tuple(start * (1 << level) for level in range(len(_STRIDES))), ratios, before, after


def _roi_align(extractor: ConfigNode, *, cascade: bool) -> int:
    """The sampling ratio; a cascade's may not be 0, which takes as many samples as a region has cells.

    Its regions are not clipped between heads: a wide one would have ONNX Runtime exhaust the memory.
    """
    extractor.ignore("mask_resolution")
    extractor.fixed(min_level=min(ROI_LEVELS), max_level=max(ROI_LEVELS), **_CANONICAL, box_resolution=ROI_SIZE)
    return extractor.get("sampling_ratio", 0).integer(1 if cascade else 0, MAX_SAMPLING_RATIO)


def _width(head: ConfigNode, root: ConfigNode, *, cascade: bool) -> int:
    """Outputs of fc6 and fc7; only Faster R-CNN's class has a default."""
    if cascade:
        return component(head.get("head"), root, "CascadeTwoFCHead").get("mlp_dim").integer(1, MAX_HEAD_WIDTH)
    return component(head.get("head"), root, "TwoFCHead").get("mlp_dim", 1024).integer(1, MAX_HEAD_WIDTH)


def _faster_weights(head: ConfigNode) -> tuple[float, float, float, float]:
    """Regression weights, of which the static format states the inverse."""
    coder = head.child("box_coder")
    coder.fixed(code_type="decode_center_size", box_normalized=False, axis=1)
    x, y, width, height = _four(coder.get("prior_box_var", [0.1, 0.1, 0.2, 0.2]), 0.001, 100.0)
    return 1 / x, 1 / y, 1 / width, 1 / height


def _cascade_weights(assigner: ConfigNode) -> tuple[tuple[float, float, float, float], ...]:
    """Regression weights of the heads: the assigner's number for x and y, half of it for sizes."""
    assigner.ignore(
        "batch_size_per_im", "fg_fraction", "fg_thresh", "bg_thresh_hi", "bg_thresh_lo", "num_classes"
    )
    assigner.ignore("shuffle_before_sample")
    assigner.fixed(class_aware=False)
    weights = assigner.get("bbox_reg_weights", [10, 20, 30]).numbers(3, 0.1, 1000.0)
    return tuple((each, each, each / 2, each / 2) for each in weights)


def _static_suppression(setting: ConfigValue, root: ConfigNode) -> None:
    """A mapping is of MultiClassNMS; another class would bear its tag."""
    nms = setting.node() if isinstance(setting.value, dict) else component(setting, root, "MultiClassNMS")
    _suppression(nms)
    nms.fixed(normalized=False, background_label=0)


def _resnet_blocks(resnet: ConfigNode, root: ConfigNode, default_norm: str) -> tuple[int, int, int, int]:
    """``ResNet`` of either format: its blocks."""
    depth = resnet.get("depth", 50)
    depth.only(*BLOCKS)
    resnet.get("variant", "b").only("d")
    resnet.shared("norm_type", root, default_norm).only(*NORMS)
    return BLOCKS.get(depth.value, BLOCKS[50]) if isinstance(depth.value, int) else BLOCKS[50]


def _proposal_counts(test: ConfigNode, default_pre: int, default_post: int) -> tuple[int, int]:
    """``test_proposal`` of either format: candidates per level, and proposals."""
    test.get("nms_thresh", 0.5).only(RPN_NMS_THRESHOLD)
    # Paddle's operator takes the larger of this and one pixel.
    test.get("min_size", 0.1).number(0.0, RPN_MIN_SIZE)
    test.fixed(eta=1.0)
    before = test.get("pre_nms_top_n", default_pre).integer(1, MAX_PRE_NMS)
    return before, test.get("post_nms_top_n", default_post).integer(1, MAX_PROPOSALS)


def _suppression(nms: ConfigNode) -> None:
    """What both formats' ``MultiClassNMS`` must say: it is part of the family."""
    nms.fixed(score_threshold=SCORE_THRESHOLD, nms_threshold=NMS_THRESHOLD)
    nms.fixed(keep_top_k=MAX_DETECTIONS, nms_top_k=-1, nms_eta=1.0)


def _four(setting: ConfigValue, low: float, high: float) -> tuple[float, float, float, float]:
    x, y, width, height = setting.numbers(4, low, high)
    return x, y, width, height
