"""A launch of the DCNv2 kernel: tensors drawn at random, laid out in memory as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat, DeformConvLibrary
from pssdet.validation.gpu_check.device import BareDevice, Memory
from pssdet.validation.gpu_check.shapes import Layer, Problem

#: near: a trained network's offsets, 1.5 pixels; far: half the image, and some beyond any image or no numbers.
Reach = Literal["near", "far"]
NEAR = 1.5
#: Every so many offsets is one of these; the distances are prime, so they meet both directions and all taps.
_EXTREMES = ((97, 1e4), (101, -1e4), (103, inf), (107, -inf), (109, nan))
GUARD = 64  # values around the output that a launch must leave alone; a multiple of the alignment

#: An engine hands over separate float32 offsets and masks, or the offset convolution's own half NHWC output.
FORMATS = {
    "fp16 NHWC": DeformConvFormat(half=True, channels_last=True),
    "fp16 NHWC, raw": DeformConvFormat(
        half=True, channels_last=True, half_offset=True, offset_channels_last=True, raw_mask=True, relu=True
    ),
    "fp16 NCHW": DeformConvFormat(half=True, half_offset=True, raw_mask=True, relu=True),
    "fp32 NCHW": DeformConvFormat(),
}
#: Those that an engine in half precision uses.
OURS = ("fp16 NHWC", "fp16 NHWC, raw")

Floats = NDArray[np.float32]


class Values(NamedTuple):
    """float32 tensors in NCHW and OIHW order that half precision holds exactly, but for the bias."""

    x: Floats
    offset: Floats
    mask: Floats  # before its sigmoid
    weight: Floats
    bias: Floats

    def cycled(self, batch: int) -> Values:
        """The same for a larger batch, in which the images come round again."""
        images = np.arange(batch) % len(self.x)
        return self._replace(x=self.x[images], offset=self.offset[images], mask=self.mask[images])


@dataclass(frozen=True)
class Launch:
    """All that a launch is given; ``memory`` is the output between two guards."""

    device: BareDevice
    kernels: DeformConvLibrary
    problem: Problem
    form: DeformConvFormat
    tensors: dict[str, Memory]
    memory: Memory

    def run(self, tile: int = AUTO_TILE) -> None:
        """Launch on the device's stream."""
        addresses = {name: self.device.address(part) for name, part in self.tensors.items()}
        y = self.device.address(self.memory) + GUARD * _dtype(half=self.form.half).itemsize
        self.kernels.run(self.problem, self.form, **addresses, y=y, tile=tile, stream=self.device.stream())

    def unwritten(self) -> Launch:
        """The same launch with an output of its own, all NaN."""
        unwritten = np.full(self.memory.shape, nan, _dtype(half=self.form.half))
        return replace(self, memory=self.device.put(unwritten))

    def result(self) -> tuple[NDArray[Any], bool]:
        """The output as [N, O, Ho, Wo], without what pads NHWC, and whether the guards are intact."""
        problem, whole = self.problem, self.device.take(self.memory)
        intact = bool(np.isnan([*whole[:GUARD], *whole[-GUARD:]]).all())
        y = whole[GUARD:-GUARD]
        size = (problem.out_height, problem.out_width)
        if not self.form.channels_last:
            return y.reshape(problem.batch, problem.out_channels, *size), intact
        return np.moveaxis(y.reshape(problem.batch, *size, -1)[..., : problem.out_channels], -1, 1), intact


def launch(
    device: BareDevice, kernels: DeformConvLibrary, problem: Problem, form: DeformConvFormat, values: Values
) -> Launch:
    """The launch over these values, laid out as the format says."""
    offset = {"half": form.half_offset, "last": form.offset_channels_last}
    parts = {
        "x": laid_out(values.x, half=form.half, last=form.channels_last),
        "weight": kernels.pack_weights(problem, np.ascontiguousarray(values.weight), half=form.half),
        "bias": values.bias,
    }
    if form.raw_mask:
        parts["offset"] = laid_out(np.concatenate([values.offset, values.mask], 1), **offset)
    else:
        parts |= {"offset": laid_out(values.offset, **offset), "mask": laid_out(sigmoid(values.mask), **offset)}
    channels = problem.out_channels + (-problem.out_channels % 8 if form.channels_last else 0)
    size = problem.batch * channels * problem.pixels + 2 * GUARD
    memory = device.put(np.full(size, nan, _dtype(half=form.half)))
    return Launch(
        device, kernels, problem, form, {name: device.put(part) for name, part in parts.items()}, memory
    )


def launches(
    device: BareDevice, kernels: DeformConvLibrary, form: DeformConvFormat, layers: Sequence[Layer], seed: int
) -> list[Launch]:
    """One for each layer, with tensors of its own and near offsets."""
    return [
        launch(device, kernels, layer.problem, form, draw(layer.problem, "near", 1000 * seed + number))
        for number, layer in enumerate(layers)
    ]


def draw(problem: Problem, reach: Reach, seed: int) -> Values:
    """Tensors with the statistics of a network's layer: input and result of deviation near one."""
    random = np.random.default_rng(seed)
    taps, out = problem.offset_groups * problem.taps, (problem.out_height, problem.out_width)

    def normal(*shape: int, scale: float = 1.0) -> Floats:
        values = scale * random.standard_normal(shape, np.float32)
        return values.astype(np.float16).astype(np.float32)

    x = normal(problem.batch, problem.channels, problem.height, problem.width)
    shape = (problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w)
    weight = normal(*shape, scale=1 / sqrt(problem.depth))
    distance = NEAR if reach == "near" else max(problem.height, problem.width) / 2
    offset = normal(problem.batch, 2 * taps, *out, scale=distance)
    if reach == "far":
        for every, value in _EXTREMES:
            offset.reshape(-1)[every::every] = value
    mask = normal(problem.batch, taps, *out)
    bias = (random.standard_normal(problem.out_channels, np.float32) / 2).astype(np.float32)
    return Values(x, offset, mask, weight, bias)


def sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    """1 / (1 + exp(-x)), in the values' type."""
    whole: NDArray[Any] = 1 / (1 + np.exp(-values))
    return whole


def laid_out(values: Floats, *, half: bool, last: bool) -> NDArray[Any]:
    """Maps [N, C, h, w] as a kernel reads them; NaN pads NHWC to a multiple of 8 channels."""
    typed = values.astype(_dtype(half=half))
    if not last:
        return np.ascontiguousarray(typed)
    batch, channels, height, width = typed.shape
    padded: NDArray[Any] = np.full((batch, height, width, -(-channels // 8) * 8), nan, typed.dtype)
    padded[..., :channels] = typed.transpose(0, 2, 3, 1)
    return padded


def _dtype(*, half: bool) -> np.dtype[Any]:
    return np.dtype(np.float16 if half else np.float32)
