"""What a training run starts from: another detector's parameters, or convolutions that do not deform yet.

Untrained, a deformable convolution's offsets are zero and its masks one half: it equals a plain convolution
with half the weights. Paddle's deformable convolution is several times slower backwards on a CPU, so a run
from nothing computes just that plain convolution in most steps; the last part lets the offsets move.
"""

from __future__ import annotations

from functools import partial

import paddle
from paddle import Tensor, nn
from paddle.nn import functional

from pssdet.errors import BadInput
from pssdet.models.checkpoint_formats.checkpoint import read_checkpoint
from pssdet.models.network.resnet_vd import ConvNorm
from pssdet.models.parameters import resolve_weights

_INITIAL_MASK = 0.5  # sigmoid(0)


def start_from(model: nn.Layer, source: str) -> None:
    """Give ``model`` every parameter that another detector's checkpoint has under the same name and shape.

    Args:
        source: file, URL or ``bundled:FILE``.

    Raises:
        BadInput: the checkpoint cannot be read, or has no such parameter.
    """
    found, own = read_checkpoint(resolve_weights(source)), model.state_dict()
    shared = {name: paddle.to_tensor(x) for name, x in found.items() if name in own and [*x.shape] == own[name].shape}
    if not shared:
        raise BadInput(f"{source} shares no parameter with the detector; start from another one")
    model.set_state_dict(own | shared)


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
