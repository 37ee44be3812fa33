"""The layers of the detectors, and the classifier, in Paddle, named as in PaddleDetection's checkpoints.

Second-stage heads keep the column order of their era: with the background
class first, the first four box deltas belong to it and mean nothing. A
cascade predicts eight: a background box and the one box of all classes.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.vision.ops import deform_conv2d

from pssdet.models.architecture import ROI_SIZE, Architecture, block_names
from pssdet.models.classification import CLASSIFIER_STAGES, ClassifierArchitecture
from pssdet.models.numerics import Numerics

TAPS = 9  # of a 3x3 kernel


class DeformableConv(nn.Layer):  # type: ignore[misc]
    """3x3 DCNv2 without bias: offsets and mask come from a plain 3x3 convolution of the input.

    Its 27 channels are 18 offsets, (dy, dx) per tap in row-major order, and 9 mask logits.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        shape = [channels, channels, 3, 3]
        self.weight = self.create_parameter(shape, default_initializer=nn.initializer.KaimingNormal())

    def forward(self, x: Tensor, offset_and_mask: Tensor) -> Tensor:
        offset, mask = paddle.split(offset_and_mask, [2 * TAPS, TAPS], axis=1)
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
            self.conv_offset = nn.Conv2D(
                inputs, 3 * TAPS, 3, stride, padding=1, weight_attr=zeros, bias_attr=zeros
            )
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


class Fpn(nn.Layer):  # type: ignore[misc]
    """C2..C5 to P2..P6: lateral 1x1, top-down nearest x2 and add, 3x3; P6 samples P5."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        channels = arch.fpn_channels
        top = len(arch.layer_widths) + 1
        self.laterals: list[nn.Layer] = []
        self.outputs: list[nn.Layer] = []
        for layer, width in enumerate(arch.layer_widths, start=2):
            suffix = "" if layer == top else "_lateral"
            lateral = nn.Conv2D(width, channels, 1)
            output = nn.Conv2D(channels, channels, 3, padding=1)
            self.laterals.append(self.add_sublayer(f"fpn_inner_res{layer}_sum{suffix}", lateral))
            self.outputs.append(self.add_sublayer(f"fpn_res{layer}_sum", output))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        inner = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for level in range(len(inner) - 1, 0, -1):
            inner[level - 1] = inner[level - 1] + F.interpolate(inner[level], scale_factor=2.0, mode="nearest")
        pyramid = [conv(x) for conv, x in zip(self.outputs, inner, strict=True)]
        pyramid.append(F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))
        return pyramid


class RpnFeature(nn.Layer):  # type: ignore[misc]
    """The 3x3 convolution that scores and deltas share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rpn_conv = nn.Conv2D(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.rpn_conv(x))


class RpnHead(nn.Layer):  # type: ignore[misc]
    """Per level: objectness logits [N, A, h, w] and deltas [N, 4A, h, w], channel = anchor * 4 + k."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        anchors = len(arch.anchor_ratios)
        self.rpn_feat = RpnFeature(arch.fpn_channels)
        self.rpn_rois_score = nn.Conv2D(arch.fpn_channels, anchors, 1)
        self.rpn_rois_delta = nn.Conv2D(arch.fpn_channels, 4 * anchors, 1)

    def forward(self, pyramid: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        features = [self.rpn_feat(level) for level in pyramid]
        return [self.rpn_rois_score(x) for x in features], [self.rpn_rois_delta(x) for x in features]


class TwoFcHead(nn.Layer):  # type: ignore[misc]
    """Region features [R, C, 7, 7], flattened in that order, through fc6 and fc7 with ReLU."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.inputs = arch.fpn_channels * ROI_SIZE * ROI_SIZE
        self.fc6 = nn.Linear(self.inputs, arch.head_width)
        self.fc7 = nn.Linear(arch.head_width, arch.head_width)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(features.reshape([-1, self.inputs])))))


class BoxHead(nn.Layer):  # type: ignore[misc]
    """Region features to class logits [R, classes + 1] and per-class box deltas [R, 4 * slots]."""

    def __init__(self, arch: Architecture, numerics: Numerics) -> None:
        super().__init__()
        slots = arch.num_classes + (numerics.background == "first")
        self.head = TwoFcHead(arch)
        self.bbox_score = nn.Linear(arch.head_width, arch.num_classes + 1)
        self.bbox_delta = nn.Linear(arch.head_width, 4 * slots)

    def forward(self, features: Tensor, head: int = 0) -> tuple[Tensor, Tensor]:
        del head  # there is one
        hidden = self.head(features)
        return self.bbox_score(hidden), self.bbox_delta(hidden)


class CascadeHead(nn.Layer):  # type: ignore[misc]
    """The heads of a cascade, one after the other: class logits [R, classes + 1] and box deltas [R, 8]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.head = nn.LayerList([TwoFcHead(arch) for _ in range(arch.num_heads)])
        for head in range(arch.num_heads):
            self.add_sublayer(f"bbox_score_stage{head}", nn.Linear(arch.head_width, arch.num_classes + 1))
            self.add_sublayer(f"bbox_delta_stage{head}", nn.Linear(arch.head_width, 8))

    def forward(self, features: Tensor, head: int) -> tuple[Tensor, Tensor]:
        hidden = self.head[head](features)
        score, delta = getattr(self, f"bbox_score_stage{head}"), getattr(self, f"bbox_delta_stage{head}")
        return score(hidden), delta(hidden)


class Classifier(nn.Layer):  # type: ignore[misc]
    """The detectors' backbone without deformable convolutions, mean over the map, one linear layer."""

    def __init__(self, arch: ClassifierArchitecture) -> None:
        super().__init__()
        self.arch = arch
        self.backbone = ResNetVd(arch.backbone)
        self.fc = nn.Linear(arch.backbone.layer_widths[-1], arch.num_classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps c2..c5, pooled [N, C], logits and probabilities [N, classes] of an image [N, 3, H, W]."""
        features = self.backbone(image)
        pooled = paddle.mean(features[-1], axis=[2, 3])
        logits = self.fc(pooled)
        values = (*features, pooled, logits, F.softmax(logits, axis=-1))
        return dict(zip(CLASSIFIER_STAGES, values, strict=True))
