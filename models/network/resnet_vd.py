"""ResNet-vd backbone with modulated deformable convolutions (DCNv2), in Paddle.

Sub-layers bear the names of the published checkpoints, so ``state_dict()`` keys equal the keys of
PaddleDetection's ``.pdparams`` files.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.vision.ops import deform_conv2d

from pssdet.models.architecture import Architecture, block_names

_TAPS = 9  # a 3x3 kernel


class DeformableConv(nn.Layer):  # type: ignore[misc]
    """3x3 DCNv2 without bias: offsets and mask come from a plain 3x3 convolution of the input.

    The 27 channels of that convolution are 18 offsets, (dy, dx) per tap in row-major order, and
    9 mask logits.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        shape = [channels, channels, 3, 3]
        self.weight = self.create_parameter(shape, default_initializer=nn.initializer.KaimingNormal())

    def forward(self, x: Tensor, offset_and_mask: Tensor) -> Tensor:
        offset, mask = paddle.split(offset_and_mask, [2 * _TAPS, _TAPS], axis=1)
        return deform_conv2d(x, offset, self.weight, stride=self.stride, padding=1, mask=F.sigmoid(mask))


class ConvNorm(nn.Layer):  # type: ignore[misc]
    """Convolution without bias, batch normalisation, optional ReLU; optionally deformable."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, act: bool = True, dcn: bool = False
    ) -> None:
        super().__init__()
        self.act = act
        self.conv_offset = None
        if dcn:
            zeros = nn.initializer.Constant(0.0)
            self.conv_offset = nn.Conv2D(inputs, 3 * _TAPS, 3, stride, padding=1, weight_attr=zeros, bias_attr=zeros)
            self.conv = DeformableConv(inputs, stride)
        else:
            self.conv = nn.Conv2D(inputs, outputs, kernel, stride, padding=kernel // 2, bias_attr=False)
        self.norm = nn.BatchNorm2D(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) if self.conv_offset is None else self.conv(x, self.conv_offset(x))
        y = self.norm(y)
        return F.relu(y) if self.act else y


class PooledShortcut(nn.Layer):  # type: ignore[misc]
    """The "d" shortcut of a down-sampling block: 2x2 average pooling, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, outputs, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.avg_pool2d(x, kernel_size=2, stride=2, padding=0, ceil_mode=True))


class Bottleneck(nn.Layer):  # type: ignore[misc]
    """1x1, 3x3 (carries the stride, may be deformable), 1x1 to four times the width."""

    def __init__(self, inputs: int, width: int, stride: int, *, first: bool, dcn: bool) -> None:
        super().__init__()
        outputs = 4 * width
        self.branch2a = ConvNorm(inputs, width, 1)
        self.branch2b = ConvNorm(width, width, 3, stride, dcn=dcn)
        self.branch2c = ConvNorm(width, outputs, 1, act=False)
        self.short = None
        if first:
            plain = ConvNorm(inputs, outputs, 1, act=False)
            self.short = plain if stride == 1 else PooledShortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch2c(self.branch2b(self.branch2a(x)))
        return F.relu(y + (x if self.short is None else self.short(x)))


class Stem(nn.Layer):  # type: ignore[misc]
    """Three 3x3 convolutions instead of one 7x7, then a 3x3 max pooling: stride 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1_1 = ConvNorm(3, width, 3, stride=2)
        self.conv1_2 = ConvNorm(width, width, 3)
        self.conv1_3 = ConvNorm(width, 2 * width, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1_3(self.conv1_2(self.conv1_1(image)))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class ResNetVd(nn.Layer):  # type: ignore[misc]
    """Backbone from a normalised image [N, 3, H, W] to C2..C5 at strides 4, 8, 16, 32."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.conv1 = Stem(arch.stem_width)
        self.residual_layers: list[nn.Sequential] = []
        inputs = 2 * arch.stem_width
        for layer, count in enumerate(arch.blocks, start=2):
            width = arch.base_width << (layer - 2)
            blocks: list[tuple[str, nn.Layer]] = []
            for index, name in enumerate(block_names(layer, count)):
                stride = 2 if index == 0 and layer > 2 else 1
                dcn = layer in arch.dcn_stages
                blocks.append((name, Bottleneck(inputs, width, stride, first=index == 0, dcn=dcn)))
                inputs = 4 * width
            self.residual_layers.append(self.add_sublayer(f"res{layer}", nn.Sequential(*blocks)))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.conv1(image)
        outputs = []
        for layer in self.residual_layers:
            x = layer(x)
            outputs.append(x)
        return outputs
