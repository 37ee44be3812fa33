"""A configuration in the static format of 2020, with its classes' defaults for what it leaves out.

Every ``get`` names the default of PaddleDetection's constructor in the static program (releases 0.3 to 2.4).
"""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import ROI_CANONICAL_LEVEL, ROI_CANONICAL_SIZE, ROI_LEVELS, ROI_SIZE, Architecture
from pssdet.models.configuration.node import ConfigNode, ConfigValue, component, is_number
from pssdet.models.configuration.preprocessing import static_preprocessing
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
from pssdet.models.numerics import STATIC

#: Keys at the top of the file that do not change what a trained detector finds.
IRRELEVANT = (
    *("TrainReader", "EvalReader", "metric", "map_type", "max_iters", "snapshot_iter", "log_iter", "log_smooth_window"),
    *("LearningRate", "OptimizerBuilder", "use_ema", "ema_decay", "save_dir", "weights", "pretrain_weights"),
    *("finetune_exclude_pretrained_params", "use_gpu", "use_xpu", "use_fine_grained_loss", "train_batch_size"),
    *("freeze_norm", "BBoxAssigner", "LibraBBoxAssigner", "CascadeBBoxAssigner", "RPNTargetAssign"),
    *("SmoothL1Loss", "BalancedL1Loss", "DiouLoss", "GiouLoss"),
)
_LEVELS = 5
_FIRST_LEVEL, _LAST_LEVEL = 2, 6
_SCALES = [0.03125, 0.0625, 0.125, 0.25]


def read_static(root: ConfigNode, architecture: str) -> Variant:
    """The detector; what is not understood goes to ``root.errors``.

    Args:
        root: the whole configuration.
        architecture: ``FasterRCNN`` or ``CascadeRCNN``.
    """
    root.ignore(*IRRELEVANT)
    cascade = architecture == "CascadeRCNN"
    parts = root.child(architecture)
    parts.get("rpn_only", default=False).must_be_false()
    backbone = _backbone(component(parts.get("backbone"), root, "ResNet"), root)
    fpn = component(parts.get("fpn", "FPN" if cascade else None), root, "FPN")
    channels = _neck(fpn, root)
    sizes, ratios, before, after = _proposals(component(parts.get("rpn_head"), root, "FPNRPNHead"), channels)
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
    _suppression(head.get("nms", {}), root)
    return Variant(changed, msgspec.structs.replace(STATIC, roi_sampling_ratio=sampling), static_preprocessing(root))


def _backbone(resnet: ConfigNode, root: ConfigNode) -> Architecture:
    resnet.ignore("freeze_at", "freeze_norm", "norm_decay", "lr_mult_list", "gcb_params")
    blocks = resnet_blocks(resnet, root, "affine_channel")
    resnet.get("feature_maps", [2, 3, 4, 5]).only([2, 3, 4, 5])
    resnet.get("nonlocal_stages", []).only([])
    resnet.get("gcb_stages", []).only([])
    resnet.shared("weight_prefix_name", root, "").only("")
    return Architecture(
        blocks=blocks,
        dcn_stages=_dcn_stages(resnet.get("dcn_v2_stages", [])),
    )


def _dcn_stages(setting: ConfigValue) -> tuple[int, ...]:
    value = setting.value
    if isinstance(value, list) and all(isinstance(each, int) and is_number(each, 2, 5) for each in value):
        return tuple(sorted(set(value)))
    setting.refuse("a list of stages from 2 to 5")
    return ()


def _neck(fpn: ConfigNode, root: ConfigNode) -> int:
    fpn.ignore("norm_decay", "freeze_norm", "use_c5")
    fpn.get("min_level", _FIRST_LEVEL).only(_FIRST_LEVEL)
    fpn.get("max_level", _LAST_LEVEL).only(_LAST_LEVEL)
    fpn.get("spatial_scale", _SCALES).only(_SCALES)
    fpn.get("has_extra_convs", default=False).must_be_false()
    fpn.get("reverse_out", default=False).must_be_false()
    # Where FPN is silent, a norm_type at the top of the file counts here too.
    fpn.shared("norm_type", root, None).only(None)
    return fpn.get("num_chan", 256).integer(1, MAX_CHANNELS)


def _proposals(rpn: ConfigNode, channels: int) -> tuple[tuple[float, ...], tuple[float, ...], int, int]:
    """Anchor sizes and ratios, candidates per level, proposals."""
    rpn.ignore("rpn_target_assign", "train_proposal")
    rpn.get("min_level", _FIRST_LEVEL).only(_FIRST_LEVEL)
    rpn.get("max_level", _LAST_LEVEL).only(_LAST_LEVEL)
    rpn.get("num_classes", 1).only(1)
    rpn.get("num_chan", 256).only(channels)
    start = rpn.get("anchor_start_size", 32).number(1.0, MAX_ANCHOR / (1 << _LEVELS))
    generator = rpn.child("anchor_generator")
    # The original computes both from anchor_start_size and the level.
    generator.ignore("anchor_sizes", "stride")
    generator.get("variance", [1.0, 1.0, 1.0, 1.0]).only([1, 1, 1, 1])
    ratios = generator.get("aspect_ratios", [0.5, 1.0, 2.0]).numbers(0, 1 / MAX_RATIO, MAX_RATIO)
    before, after = proposal_counts(rpn.child("test_proposal"), 6000, 1000)
    return tuple(start * (1 << level) for level in range(_LEVELS)), ratios, before, after


def _roi_align(extractor: ConfigNode, *, cascade: bool) -> int:
    """The sampling ratio.

    0 takes as many samples as a region has cells. A cascade's regions are not clipped between its heads, and
    one that is wide enough would have ONNX Runtime ask for more memory than there is.
    """
    extractor.ignore("mask_resolution")
    extractor.get("min_level", min(ROI_LEVELS)).only(min(ROI_LEVELS))
    extractor.get("max_level", max(ROI_LEVELS)).only(max(ROI_LEVELS))
    extractor.get("canconical_level", 4).only(ROI_CANONICAL_LEVEL)
    extractor.get("canonical_size", 224).only(ROI_CANONICAL_SIZE)
    extractor.get("box_resolution", 7).only(ROI_SIZE)
    return extractor.get("sampling_ratio", 0).integer(1 if cascade else 0, MAX_SAMPLING_RATIO)


def _width(head: ConfigNode, root: ConfigNode, *, cascade: bool) -> int:
    """Outputs of fc6 and fc7; only Faster R-CNN's class has a default."""
    if cascade:
        return component(head.get("head"), root, "CascadeTwoFCHead").get("mlp_dim").integer(1, MAX_HEAD_WIDTH)
    return component(head.get("head"), root, "TwoFCHead").get("mlp_dim", 1024).integer(1, MAX_HEAD_WIDTH)


def _faster_weights(head: ConfigNode) -> tuple[float, float, float, float]:
    """Regression weights, of which the static format states the inverse."""
    coder = head.child("box_coder")
    coder.get("code_type", "decode_center_size").only("decode_center_size")
    coder.get("box_normalized", default=False).must_be_false()
    coder.get("axis", 1).only(1)
    x, y, width, height = four(coder.get("prior_box_var", [0.1, 0.1, 0.2, 0.2]), 0.001, 100.0)
    return 1 / x, 1 / y, 1 / width, 1 / height


def _cascade_weights(assigner: ConfigNode) -> tuple[tuple[float, float, float, float], ...]:
    """Regression weights of the three heads: the assigner's number for x and y, half of it for sizes."""
    assigner.ignore("batch_size_per_im", "fg_fraction", "fg_thresh", "bg_thresh_hi", "bg_thresh_lo", "num_classes")
    assigner.ignore("shuffle_before_sample")
    assigner.get("class_aware", default=False).must_be_false()
    weights = assigner.get("bbox_reg_weights", [10, 20, 30]).numbers(3, 0.1, 1000.0)
    return tuple((each, each, each / 2, each / 2) for each in weights)


def _suppression(setting: ConfigValue, root: ConfigNode) -> None:
    """A mapping is of MultiClassNMS; another class would bear its tag."""
    if isinstance(setting.value, dict):
        nms = ConfigNode(root.errors, (setting.place, setting.value))
    else:
        nms = component(setting, root, "MultiClassNMS")
    suppression(nms)
    nms.get("normalized", default=False).must_be_false()
    nms.get("background_label", 0).only(0)
