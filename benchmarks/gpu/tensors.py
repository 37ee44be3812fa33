"""A launch's tensors: drawn at random, laid out in memory as the kernels take them, and the expected result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan, prod, sqrt
from typing import Literal

from benchmarks.gpu.device import Array, ArrayDevice, Kind, host_float32
from benchmarks.gpu.exact import convolve
from benchmarks.gpu.kernels import AUTO, Addresses, Format, Kernels
from benchmarks.gpu.shapes import Problem

#: near: the offsets of a trained network, 1.5 pixels; far: half the image, and some beyond any image or no numbers.
Reach = Literal["near", "far"]
NEAR = 1.5
#: Every so many offsets is one of these; the distances are prime, so that they meet both directions and all taps.
_EXTREMES = ((97, 1e4), (101, -1e4), (103, float("inf")), (107, -float("inf")), (109, nan))
#: Values before and behind the output that a launch must leave alone; a multiple of the alignment.
GUARD = 64


@dataclass(frozen=True)
class Values:
    """float32 tensors in NCHW and OIHW order, whose values the format's types hold exactly.

    mask: what samples are multiplied by; its value before the sigmoid where the format has a raw mask.
    """

    x: Array
    offset: Array
    mask: Array
    weight: Array
    bias: Array


@dataclass(frozen=True)
class Launch:
    """All that a launch is given; ``memory`` holds the output between two guards."""

    problem: Problem
    form: Format
    x: Array
    offset: Array
    mask: Array | None
    weight: Array
    bias: Array
    memory: Array

    def run(self, device: ArrayDevice, kernels: Kernels, tile: int = AUTO) -> None:
        """Launch on the current stream."""
        parts = (self.x, self.offset, self.mask, self.weight, self.bias, self._y())
        addresses = Addresses(*(0 if part is None else device.address(part) for part in parts))
        kernels.run(self.problem, self.form, addresses, tile, device.stream())

    def unwritten(self, device: ArrayDevice) -> Launch:
        """The same launch with an output of its own, all NaN."""
        return replace(self, memory=_poisoned(device, self.problem, self.form))

    def forget(self) -> None:
        """Make the output NaN again."""
        self.memory[:] = nan

    def result(self, device: ArrayDevice) -> Array:
        """The output as [N, O, Ho, Wo], of its own type; what NHWC pads is left out."""
        problem = self.problem
        if not self.form.channels_last:
            return self._y().reshape(problem.batch, problem.out_channels, problem.out_height, problem.out_width)
        y = self._y().reshape(problem.batch, problem.out_height, problem.out_width, -1)
        return device.packed(device.xp.moveaxis(y[..., : problem.out_channels], -1, 1), _kind(half=self.form.half))

    def has_intact_guards(self, device: ArrayDevice) -> bool:
        """Whether nothing was written outside of the output."""
        outside = device.xp.concatenate([self.memory[:GUARD], self.memory[-GUARD:]])
        return bool(device.xp.isnan(outside).all())

    def _y(self) -> Array:
        return self.memory[GUARD:-GUARD]


def draw(device: ArrayDevice, problem: Problem, form: Format, reach: Reach, seed: int) -> Values:
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
    offset = _rounded(device, offset, half=form.half_offset)
    if reach == "far":
        for distance, value in _EXTREMES:
            offset.reshape(-1)[distance::distance] = value
    return Values(
        _rounded(device, x, half=form.half),
        offset,
        _rounded(device, mask, half=form.half_offset),
        _rounded(device, weight, half=form.half),
        normal(4, problem.out_channels) / 2,
    )


def arrange(device: ArrayDevice, kernels: Kernels, problem: Problem, form: Format, values: Values) -> Launch:
    """The tensors as the format lays them out in the device's memory."""
    offset, mask = values.offset, None
    if form.raw_mask:
        offset = device.xp.concatenate([offset, values.mask], 1)
    else:
        mask = _laid_out(device, values.mask, half=form.half_offset, last=form.offset_channels_last)
    packed = kernels.pack_weights(problem, host_float32(device, values.weight), half=form.half)
    return Launch(
        problem,
        form,
        _laid_out(device, values.x, half=form.half, last=form.channels_last),
        _laid_out(device, offset, half=form.half_offset, last=form.offset_channels_last),
        mask,
        device.put(packed),
        device.packed(values.bias, "float32"),
        _poisoned(device, problem, form),
    )


def expected(device: ArrayDevice, problem: Problem, form: Format, values: Values) -> Array:
    """The result in float64."""
    xp = device.xp
    x, offset, mask, weight, bias = (
        xp.asarray(part, dtype=xp.float64)
        for part in (values.x, values.offset, values.mask, values.weight, values.bias)
    )
    if form.raw_mask:
        mask = 1 / (1 + xp.exp(-mask))
    y = convolve(device, problem, x, offset, mask, weight, bias)
    return xp.where(y < 0, 0.0, y) if form.relu else y


def _kind(*, half: bool) -> Kind:
    return "float16" if half else "float32"


def _pitch(channels: int) -> int:
    return -(-channels // 8) * 8


def _rounded(device: ArrayDevice, values: Array, *, half: bool) -> Array:
    return device.packed(device.packed(values, _kind(half=half)), "float32")


def _laid_out(device: ArrayDevice, values: Array, *, half: bool, last: bool) -> Array:
    """NCHW, or NHWC whose channels NaNs pad to a multiple of eight."""
    if last:
        gap = _pitch(values.shape[1]) - values.shape[1]
        if gap:
            filler = device.full((values.shape[0], gap, *values.shape[2:]), "float32", nan)
            values = device.xp.concatenate([values, filler], 1)
        values = device.xp.moveaxis(values, 1, -1)
    return device.packed(values, _kind(half=half))


def _poisoned(device: ArrayDevice, problem: Problem, form: Format) -> Array:
    channels = _pitch(problem.out_channels) if form.channels_last else problem.out_channels
    size = prod((problem.batch, channels, problem.pixels))
    return device.full((size + 2 * GUARD,), _kind(half=form.half), nan)
