"""A launch and its tensors: drawn at random, and laid out in memory as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from benchmarks.gpu.shapes import Layer, Problem
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat, DeformConvLibrary
from pssdet.plugins.bindings.libraries import Dtype

if TYPE_CHECKING:
    from benchmarks.gpu.torch_device import Array, CudaDevice

#: near: a trained network's offsets, 1.5 pixels; far: half the image, and some beyond any image or no numbers.
Reach = Literal["near", "far"]
NEAR = 1.5
#: Every so many offsets is one of these; the distances are prime, so they meet both directions and all taps.
_EXTREMES = ((97, 1e4), (101, -1e4), (103, float("inf")), (107, -float("inf")), (109, nan))
GUARD = 64  # values around the output that a launch must leave alone; a multiple of the alignment


class Values(NamedTuple):
    """float32 tensors in NCHW and OIHW order, whose values the format's types hold exactly."""

    x: Array
    offset: Array
    mask: Array  # what samples are multiplied by; before its sigmoid where the format has a raw mask
    weight: Array
    bias: Array


@dataclass(frozen=True)
class Launcher:
    """A device and the kernels that run on it."""

    device: CudaDevice
    kernels: DeformConvLibrary

    def launch(self, problem: Problem, form: DeformConvFormat, values: Values) -> Launch:
        """The launch over these values, laid out as the format says."""
        xp, offset, mask = self.device.xp, values.offset, None
        if form.raw_mask:
            offset = xp.concatenate([offset, values.mask], 1)
        else:
            mask = self._laid_out(values.mask, form.half_offset, form.offset_channels_last)
        weight = np.ascontiguousarray(self.device.take(values.weight), np.float32)
        tensors = Values(
            self._laid_out(values.x, form.half, form.channels_last),
            self._laid_out(offset, form.half_offset, form.offset_channels_last),
            mask,
            self.device.put(self.kernels.pack_weights(problem, weight, half=form.half)),
            self.device.packed(values.bias, "float32"),
        )
        channels = problem.out_channels + (-problem.out_channels % 8 if form.channels_last else 0)
        size = problem.batch * channels * problem.pixels + 2 * GUARD
        memory = self.device.full((size,), _dtype(form.half), nan)
        return Launch(self, problem, form, tensors, memory)

    def launches(self, form: DeformConvFormat, layers: Sequence[Layer], seed: int) -> list[Launch]:
        """One for each layer, with tensors of its own and near offsets."""
        drawn = [
            draw(self.device, layer.problem, form, "near", 1000 * seed + number)
            for number, layer in enumerate(layers)
        ]
        return [self.launch(layer.problem, form, values) for layer, values in zip(layers, drawn, strict=True)]

    def _laid_out(self, values: Array, half: bool, channels_last: bool) -> Array:  # noqa: FBT001
        """NCHW, or NHWC whose channels NaNs pad to a multiple of eight."""
        xp = self.device.xp
        if channels_last:
            batch, channels, *size = values.shape
            filler = self.device.full((batch, -channels % 8, *size), "float32", nan)
            values = xp.moveaxis(xp.concatenate([values, filler], 1), 1, -1)
        return self.device.packed(values, _dtype(half))


@dataclass(frozen=True)
class Launch:
    """All that a launch is given."""

    launcher: Launcher
    problem: Problem
    form: DeformConvFormat
    tensors: Values  # as the form lays them out; without a mask if it is in the offsets
    memory: Array  # the output between two guards

    def run(self, tile: int = AUTO_TILE) -> None:
        """Launch on the current stream."""
        device, parts = self.launcher.device, self.tensors._asdict() | {"y": self._y()}
        addresses = {name: device.address(part) for name, part in parts.items() if part is not None}
        self.launcher.kernels.run(self.problem, self.form, **addresses, tile=tile, stream=device.stream())

    def unwritten(self) -> Launch:
        """The same launch with an output of its own, all NaN."""
        memory = self.launcher.device.full(self.memory.shape, _dtype(self.form.half), nan)
        return replace(self, memory=memory)

    def result(self) -> Array:
        """The output as [N, O, Ho, Wo], of its own type; what NHWC pads is left out."""
        problem, xp = self.problem, self.launcher.device.xp
        size = (problem.out_height, problem.out_width)
        if not self.form.channels_last:
            return self._y().reshape(problem.batch, problem.out_channels, *size)
        y = self._y().reshape(problem.batch, *size, -1)[..., : problem.out_channels]
        return self.launcher.device.packed(xp.moveaxis(y, -1, 1), _dtype(self.form.half))

    def has_intact_guards(self) -> bool:
        """Whether nothing was written outside of the output."""
        xp = self.launcher.device.xp
        return bool(xp.isnan(xp.concatenate([self.memory[:GUARD], self.memory[-GUARD:]])).all())

    def _y(self) -> Array:
        return self.memory[GUARD:-GUARD]


def draw(device: CudaDevice, problem: Problem, form: DeformConvFormat, reach: Reach, seed: int) -> Values:
    """Tensors with the statistics of a network's layer: input and result of deviation near one."""
    taps, side = problem.offset_groups * problem.taps, max(problem.height, problem.width)
    out = (problem.out_height, problem.out_width)

    def normal(part: int, *shape: int) -> Array:
        return device.normal(shape, 8 * seed + part)

    x = normal(0, problem.batch, problem.channels, problem.height, problem.width)
    shape = (problem.out_channels, problem.channels // problem.groups, problem.kernel_h, problem.kernel_w)
    weight = normal(1, *shape) / sqrt(problem.depth)
    mask = normal(2, problem.batch, taps, *out)
    if not form.raw_mask:
        mask = 1 / (1 + device.xp.exp(-mask))
    offset = normal(3, problem.batch, 2 * taps, *out) * (NEAR if reach == "near" else side / 2)
    offset = _rounded(device, offset, _dtype(form.half_offset))
    if reach == "far":
        for distance, value in _EXTREMES:
            offset.reshape(-1)[distance::distance] = value
    return Values(
        _rounded(device, x, _dtype(form.half)),
        offset,
        _rounded(device, mask, _dtype(form.half_offset)),
        _rounded(device, weight, _dtype(form.half)),
        normal(4, problem.out_channels) / 2,
    )


def _dtype(half: bool) -> Dtype:  # noqa: FBT001
    return "half" if half else "float32"


def _rounded(device: CudaDevice, values: Array, dtype: Dtype) -> Array:
    return device.packed(device.packed(values, dtype), "float32")
