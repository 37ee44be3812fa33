"""Deformable convolutions that do not deform yet, for the first part of a training run.

Their offsets start at zero and their masks at one half, where they equal a plain convolution with half
the weights. Paddle's deformable convolution is several times slower backwards on a CPU, so most steps
compute just that plain convolution; the last part of the run lets the offsets move.
"""

from __future__ import annotations

from functools import partial

from paddle import Tensor, nn
from paddle.nn import functional

from pssdet.models.resnet_vd import ConvNorm

_INITIAL_MASK = 0.5  # sigmoid(0)


def set_deforming(model: nn.Layer, *, on: bool) -> None:
    """Let the deformable convolutions of ``model`` deform, or compute them as plain ones."""
    for layer in model.sublayers():
        if isinstance(layer, ConvNorm) and layer.conv_offset is not None:
            forward = ConvNorm.forward if on else _forward_undeformed
            layer.forward = partial(forward, layer)  # type: ignore[method-assign]


def _forward_undeformed(layer: ConvNorm, x: Tensor) -> Tensor:
    """What the layer computes as long as its offset convolution is zero."""
    y = layer.norm(functional.conv2d(x, _INITIAL_MASK * layer.conv.weight, stride=layer.conv.stride, padding=1))
    return functional.relu(y) if layer.act else y
