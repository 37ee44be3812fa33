"""Baselines measured in the same run as our kernel: torchvision, plain convolutions by cuDNN, TensorRT's own plugin."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from benchmarks.gpu.device import Array, ArrayDevice, Work
from benchmarks.gpu.kernels import Format
from benchmarks.gpu.shapes import Layer, Problem
from benchmarks.gpu.tensorrt_baseline import tensorrt_half
from benchmarks.gpu.tensors import Values, draw

#: Everything in half precision, as the baselines take it.
HALF = Format(channels_last=False, half_offset=True)


def torchvision_half(device: ArrayDevice, layers: Sequence[Layer], seed: int) -> Work:
    """Deformable convolutions by torchvision, float16, NCHW."""
    from torchvision.ops import deform_conv2d

    calls = []
    for number, layer in enumerate(layers):
        values = _half(draw(device, layer.problem, HALF, "near", 1000 * seed + number))
        calls.append((values, _options(layer.problem)))

    def work() -> None:
        for values, options in calls:
            deform_conv2d(values.x, values.offset, values.weight, values.bias, mask=values.mask, **options)

    return work


def convolution_half(device: ArrayDevice, layers: Sequence[Layer], seed: int) -> Work:
    """Plain convolutions of the same sizes: cuDNN's fastest, float16, channels last.

    Without a bias, for which PyTorch would launch another kernel.
    """
    calls = []
    for number, layer in enumerate(layers):
        values = _half(draw(device, layer.problem, HALF, "near", 1000 * seed + number))
        x, weight = (part.contiguous(memory_format=torch.channels_last) for part in (values.x, values.weight))
        calls.append((x, weight, _options(layer.problem)))

    def work() -> None:
        for x, weight, options in calls:
            functional.conv2d(x, weight, **options)

    return work


def torchvision_double(device: ArrayDevice, problem: Problem, values: Values) -> Array:  # noqa: ARG001
    """The result of torchvision in float64: a second opinion on our reference."""
    from torchvision.ops import deform_conv2d

    x, offset, mask, weight, bias = (
        part.double() for part in (values.x, values.offset, values.mask, values.weight, values.bias)
    )
    return deform_conv2d(x, offset, weight, bias, mask=mask, **_options(problem))


BASELINES = {"torchvision": torchvision_half, "convolution": convolution_half, "tensorrt": tensorrt_half}


def _half(values: Values) -> Values:
    parts = (values.x, values.offset, values.mask, values.weight, values.bias)
    return Values(*(part.half().contiguous() for part in parts))


def _options(problem: Problem) -> dict[str, tuple[int, int]]:
    """Stride, padding and dilation; the layers are padded equally on all sides."""
    return {
        "stride": (problem.stride_h, problem.stride_w),
        "padding": (problem.pad_top, problem.pad_left),
        "dilation": (problem.dilation_h, problem.dilation_w),
    }
