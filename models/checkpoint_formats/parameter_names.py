"""Parameter names of published checkpoints, and the structured names that the models here bear.

Only names differ: shapes and the order of columns are kept. Of a static
detector, all names together tell the heads: ``fc6_w`` is the only one of a
Faster R-CNN and the first of a cascade. Of ResNet-vd classifiers there are

- PaddleClas up to 2.1 (``dygraph/*.pdparams``): ``bb_0_0.conv0._conv.weight``, ``out.weight``;
- PaddleClas from 2.2 (``dygraph/legendary_models/*.pdparams``): ``blocks.0.conv0.conv.weight``, ``fc.weight``;
- PaddleDetection's pretrained backbones: this project's names without ``backbone.``;
- the static programs (``*.tar``): ``res2a_branch2a_weights``, ``fc_0.w_0``, renamed when a checkpoint is read.

Sources: PaddleClas 2.0 ppcls/modeling/architectures/resnet_vd.py, PaddleClas 2.5
ppcls/arch/backbone/legendary_models/resnet.py, PaddleDetection ppdet/utils/checkpoint.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from pssdet.errors import BadInput
from pssdet.models.architecture import Architecture, block_names
from pssdet.models.checkpoint_formats.untrusted import FOREIGN, Refused, first_few

_T = TypeVar("_T")
_Found = re.Match[str]

_PARTS = {
    "w": "weight",
    "b": "bias",
    "scale": "weight",
    "offset": "bias",
    "mean": "_mean",
    "variance": "_variance",
}
_RPN = {"conv_rpn": "rpn_feat.rpn_conv", "rpn_cls_logits": "rpn_rois_score", "rpn_bbox_pred": "rpn_rois_delta"}
_SCORES = {"cls_score": "bbox_score", "bbox_pred": "bbox_delta"}

#: res2a, ..., res4f; ResNet-101 numbers the blocks of its long layer: res4a, res4b1, ..., res4b22.
_BLOCK = "([2-5])(b[1-9][0-9]?|[a-z])"
_STATISTIC = "(scale|offset|mean|variance)"
_LATERAL = "fpn_inner_res(?:5_sum|[2-4]_sum_lateral)"


def _shortcut(found: _Found) -> str:
    """The shortcut of a layer's first block; a layer that halves the map pools before it."""
    name = f"backbone.res{found[1]}.res{found[1]}a.short"
    return name if found[1] == "2" else f"{name}.conv"


def _branch(found: _Found) -> str:
    return f"backbone.res{found[1]}.res{found[1]}{found[2]}.branch{found[3]}"


def _fc(found: _Found, *, cascade: bool) -> str:
    head = f"{int(found[2] or 1) - 1}." if cascade or found[2] else ""
    return f"bbox_head.head.{head}{found[1]}.{_PARTS[found[3]]}"


def _score(found: _Found, *, cascade: bool) -> str:
    suffix = f"_stage{int(found[2] or 1) - 1}" if cascade or found[2] else ""
    return f"bbox_head.{_SCORES[found[1]]}{suffix}.{_PARTS[found[3]]}"


#: Every name of the detectors but for the heads: a pattern for the whole name, and what it becomes.
_RULES: tuple[tuple[str, Callable[[_Found], str]], ...] = (
    ("conv1_([1-3])_weights", lambda m: f"backbone.conv1.conv1_{m[1]}.conv.weight"),
    (f"bnv1_([1-3])_{_STATISTIC}", lambda m: f"backbone.conv1.conv1_{m[1]}.norm.{_PARTS[m[2]]}"),
    ("res([2-5])a_branch1_weights", lambda m: f"{_shortcut(m)}.conv.weight"),
    (f"bn([2-5])a_branch1_{_STATISTIC}", lambda m: f"{_shortcut(m)}.norm.{_PARTS[m[2]]}"),
    (f"res{_BLOCK}_branch(2[abc])_weights", lambda m: f"{_branch(m)}.conv.weight"),
    (f"bn{_BLOCK}_branch(2[abc])_{_STATISTIC}", lambda m: f"{_branch(m)}.norm.{_PARTS[m[4]]}"),
    (f"res{_BLOCK}_branch(2b)_conv_offset[.]([wb])_0", lambda m: f"{_branch(m)}.conv_offset.{_PARTS[m[4]]}"),
    (f"({_LATERAL}|fpn_res[2-5]_sum)_([wb])", lambda m: f"neck.{m[1]}.{_PARTS[m[2]]}"),
    (f"({'|'.join(_RPN)})_fpn2_([wb])", lambda m: f"rpn_head.{_RPN[m[1]]}.{_PARTS[m[2]]}"),
    ("fc_0[.]([wb])_0", lambda m: f"fc.{_PARTS[m[1]]}"),  # of the classifier that a backbone comes from
)
_NETWORK = tuple((re.compile(pattern), name) for pattern, name in _RULES)
_HEADS = (
    (re.compile("(fc[67])(?:_([23]))?_([wb])"), _fc),
    (re.compile("(cls_score|bbox_pred)(?:_([23]))?_([wb])"), _score),
)

#: Step counters, the learning rate and what optimisers keep beside each parameter.
_OPTIMISER = re.compile(
    "@[A-Z_]+@"
    "|learning_rate(?:_[a-z0-9_]+)?"
    "|.+[_.](?:velocity|moment[12]?|momentum|beta[12]_pow_acc|mean_square|mean_grad)(?:_[0-9]+)?"
)


def structured_name(static: str, *, cascade: bool = False) -> str | None:
    """The structured name of a static parameter; None for what is no parameter of these detectors.

    In a ``cascade``, the names without a number are those of the first head.
    """
    for pattern, name in _NETWORK:
        if found := pattern.fullmatch(static):
            return name(found)
    for pattern, head in _HEADS:
        if found := pattern.fullmatch(static):
            return head(found, cascade=cascade)
    return None


def is_optimiser(static: str) -> bool:
    """Whether training keeps that variable for itself, by its name alone."""
    return structured_name(static) is None and _OPTIMISER.fullmatch(static) is not None


def is_static(names: Iterable[str]) -> bool:
    """Whether any of the names is a static parameter; no structured name is one."""
    return any(structured_name(name) is not None for name in names)


def to_structured(found: Mapping[str, _T]) -> tuple[dict[str, _T], int]:
    """The parameters by structured name, in their order, and how many optimiser variables were left out.

    Raises:
        Refused: there are names of neither kind, or no parameters at all.
    """
    heads = [match for name in found for pattern, _ in _HEADS if (match := pattern.fullmatch(name))]
    cascade = any(head[2] for head in heads)
    names = {name: structured_name(name, cascade=cascade) for name in found}
    unknown = [name for name, structured in names.items() if structured is None and not is_optimiser(name)]
    if unknown:
        listed = first_few(unknown)
        raise Refused(
            f"holds {len(unknown)} unknown variables ({listed}): not a checkpoint of these models; {FOREIGN}"
        )
    parameters = {structured: found[name] for name, structured in names.items() if structured is not None}
    if not parameters:
        raise Refused(f"holds no parameters ({len(found)} optimiser variables); {FOREIGN}")
    return parameters, len(found) - len(parameters)


def rename_classifier(found: Mapping[str, _T], backbone: Architecture, source: str) -> dict[str, _T]:
    """A checkpoint's parameters under this project's names, ``backbone.*`` and ``fc.*``.

    Raises:
        BadInput: names are of no scheme, or of several at once; the message names them.
    """
    known = _known_names(backbone)
    if unknown := [name for name in found if name not in known]:
        raise BadInput(
            f"{source} holds {len(unknown)} unknown parameters ({first_few(unknown)}):"
            f" it is no ResNet-vd classifier of {'-'.join(map(str, backbone.blocks))} blocks;"
            " use the checkpoint of this model"
        )
    renamed: dict[str, _T] = {}
    for name, value in found.items():
        if known[name] in renamed:
            raise BadInput(
                f"{source} holds {known[name]} under several names, one of them {name}; use another file"
            )
        renamed[known[name]] = value
    return renamed


def _known_names(backbone: Architecture) -> dict[str, str]:
    """Every name of every scheme, and what it is here."""
    known: dict[str, str] = {}
    norm = ("weight", "bias", "_mean", "_variance")
    for own, old, new in _layers(backbone):
        names = [(f"{own}.conv.weight", f"{old}._conv.weight", f"{new}.conv.weight")]
        names += [(f"{own}.norm.{part}", f"{old}._batch_norm.{part}", f"{new}.bn.{part}") for part in norm]
        for name, *others in names:
            known |= dict.fromkeys((f"backbone.{name}", name, *others), f"backbone.{name}")
    for part in ("weight", "bias"):
        known |= dict.fromkeys((f"fc.{part}", f"out.{part}"), f"fc.{part}")
    return known


def _layers(backbone: Architecture) -> Iterator[tuple[str, str, str]]:
    """Every convolution's name here, in PaddleClas up to 2.1, and from 2.2 on."""
    for index in (1, 2, 3):
        yield f"conv1.conv1_{index}", f"conv1_{index}", f"stem.{index - 1}"
    block = 0
    for layer, count in enumerate(backbone.blocks, start=2):
        for index, name in enumerate(block_names(layer, count)):
            own, old, new = f"res{layer}.{name}", f"bb_{layer - 2}_{index}", f"blocks.{block}"
            for conv, branch in enumerate("abc"):
                yield f"{own}.branch2{branch}", f"{old}.conv{conv}", f"{new}.conv{conv}"
            if index == 0:  # pooled before the convolution where the layer halves the map
                yield f"{own}.short{'' if layer == 2 else '.conv'}", f"{old}.short", f"{new}.short"
            block += 1
