"""Parameter names of published ResNet-vd classifiers, and the names that the classifier here bears.

Four schemes are in the wild, for the same arrays in the same shapes:

- PaddleClas up to 2.1 (``dygraph/*.pdparams``): ``bb_0_0.conv0._conv.weight``, ``out.weight``;
- PaddleClas from 2.2 (``dygraph/legendary_models/*.pdparams``): ``blocks.0.conv0.conv.weight``, ``fc.weight``;
- PaddleDetection's pretrained backbones: this project's names without ``backbone.``;
- the static programs (``*.tar``): ``res2a_branch2a_weights``, ``fc_0.w_0``; ``static_names`` has renamed
  those when a checkpoint was read.

Sources: PaddleClas 2.0 ppcls/modeling/architectures/resnet_vd.py, PaddleClas 2.5
ppcls/arch/backbone/legendary_models/resnet.py, PaddleDetection ppdet/utils/checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import BadInput
from pssdet.models.architecture import Architecture, block_names

_BACKBONE = "backbone."
_NORM = ("weight", "bias", "_mean", "_variance")


def rename_classifier(
    found: Mapping[str, NDArray[np.float32]], backbone: Architecture, source: str
) -> dict[str, NDArray[np.float32]]:
    """A checkpoint's parameters under this project's names, ``backbone.*`` and ``fc.*``.

    Args:
        found: arrays by the names of any one scheme.
        backbone: whose numbers of blocks decide which names there are.
        source: where ``found`` comes from, for the message.

    Raises:
        BadInput: names are of no scheme, or of several at once; the message names them.
    """
    known = _known_names(backbone)
    if unknown := [name for name in found if name not in known]:
        listed = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise BadInput(
            f"{source} holds {len(unknown)} unknown parameters ({listed}): it is no ResNet-vd classifier of"
            f" {'-'.join(map(str, backbone.blocks))} blocks; use the checkpoint of this model"
        )
    renamed: dict[str, NDArray[np.float32]] = {}
    for name, value in found.items():
        if known[name] in renamed:
            raise BadInput(f"{source} holds {known[name]} under several names, one of them {name}; use another file")
        renamed[known[name]] = value
    return renamed


def _known_names(backbone: Architecture) -> dict[str, str]:
    """Every name of every scheme, and what it is called here."""
    known: dict[str, str] = {}
    for own, old, new in _layers(backbone):
        names = [(f"{own}.conv.weight", f"{old}._conv.weight", f"{new}.conv.weight")]
        names += [(f"{own}.norm.{part}", f"{old}._batch_norm.{part}", f"{new}.bn.{part}") for part in _NORM]
        for name, *others in names:
            known |= dict.fromkeys((f"{_BACKBONE}{name}", name, *others), f"{_BACKBONE}{name}")
    for part in ("weight", "bias"):
        known |= dict.fromkeys((f"fc.{part}", f"out.{part}"), f"fc.{part}")
    return known


def _layers(backbone: Architecture) -> Iterator[tuple[str, str, str]]:
    """Every convolution with its norm: its name in the backbone here, in PaddleClas up to 2.1, and from 2.2 on."""
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
