"""The step about the DCNv2 kernel: every tile against float64, foreign memory, repeatability, two streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pssdet.errors import PssDetError
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvLibrary
from pssdet.validation.gpu_check.device import BareDevice, run_all
from pssdet.validation.gpu_check.launches import (
    FORMATS,
    OURS,
    Launch,
    Reach,
    Values,
    draw,
    launch,
    launches,
    sigmoid,
)
from pssdet.validation.gpu_check.plan import Findings, Given
from pssdet.validation.gpu_check.shapes import ODD, SIZES, Layer, Problem, shapes

#: Of the largest value. Half: the result is rounded by 5e-4. Float: coordinates near 300 step by 3e-5 pixels.
LIMITS = {True: 2e-3, False: 5e-5}
AT_ONCE = 16  # launches of each stream, each with an output of its own
BATCH = 8  # the largest that an engine takes by default; its images are two that come round again

Doubles = NDArray[np.float64]


def check(_: Given) -> Findings:
    """The shapes of row 4 at 640x640, and what the detectors do not have but the interface allows."""
    return check_layers(BareDevice(), DeformConvLibrary(), shapes(50, SIZES[0], 2), ODD)


def check_layers(
    device: BareDevice, kernels: DeformConvLibrary, layers: Sequence[Layer], odd: Mapping[str, Problem]
) -> Findings:
    """Every layer in every format and tile, with near and far offsets; layers in pairs on two streams."""
    errors: dict[str, float] = {}
    failures: list[str] = []
    launched = 0
    plans = [(Layer(name, problem), 0) for name, problem in odd.items()] + [(layer, BATCH) for layer in layers]
    for seed, (layer, batch) in enumerate(plans):
        for reach in ("near", "far"):
            for name, tile, error, failed in _checked(device, kernels, layer, reach, seed, batch):
                launched += 1
                errors[name] = max(errors.get(name, 0.0), error)
                failures += [f"{layer.name}, {name}, {reach} offsets, {tile}: {each}" for each in failed]
    different, runs = _disturbed(device, kernels, layers)
    if different:
        failures.append(f"two streams: {different} of {runs} results differ from those alone")
    figures = {"launches": launched, "worst relative error": errors, "runs on two streams": runs}
    return Findings(figures, failures)


def _checked(
    device: BareDevice, kernels: DeformConvLibrary, layer: Layer, reach: Reach, seed: int, batch: int
) -> Iterator[tuple[str, str, float, list[str]]]:
    """Format, tile, error and failures of each launch over the layer's images, and over ``batch`` of them."""
    values = draw(layer.problem, reach, seed)
    wanted = expected(layer.problem, values)
    size, said = (layer.problem.out_height, layer.problem.out_width), kernels.output_size(layer.problem)
    if said != size:
        yield "any format", "no tile", 0.0, [f"the output's size is said to be {said}, it is {size}"]
    runs = [(layer.problem, values)]
    if batch and reach == "near":
        runs.append((replace(layer.problem, batch=batch), values.cycled(batch)))
    for problem, given in runs:
        images = wanted[np.arange(problem.batch) % len(wanted)]
        for name, form in FORMATS.items():
            prepared = launch(device, kernels, problem, form, given)
            exact = np.maximum(images, 0) if form.relu else images
            for tile in (AUTO_TILE, *range(kernels.tile_count(problem, form))):
                label = f"N={problem.batch}, {'its own tile' if tile == AUTO_TILE else f'tile {tile}'}"
                try:
                    error, failed = _tried(prepared, tile, exact)
                except PssDetError as refused:
                    error, failed = 0.0, [str(refused)]
                yield name, label, error, failed


def _tried(prepared: Launch, tile: int, wanted: Doubles) -> tuple[float, list[str]]:
    """The relative error of two runs, and what was wrong with them."""
    runs = [prepared.unwritten() for _ in range(2)]
    for run in runs:
        run.run(tile)
    prepared.device.synchronize()
    (first, intact), (second, also_intact) = (run.result() for run in runs)
    failures = [] if intact and also_intact else ["wrote outside of the output"]
    if not np.isfinite(first).all():
        return 0.0, [*failures, "values that are not finite, or were not written"]
    if first.tobytes() != second.tobytes():
        failures.append("two runs differ")
    error = relative_error(first, wanted)
    limit = LIMITS[prepared.form.half]
    if not error <= limit:
        failures.append(f"relative error {error:.1e}, the limit is {limit:.0e}")
    return error if isfinite(error) else 0.0, failures


def relative_error(obtained: NDArray[Any], wanted: Doubles) -> float:
    """The largest difference, relative to the largest value wanted."""
    return float(np.abs(obtained.astype(np.float64) - wanted).max()) / max(float(np.abs(wanted).max()), 1e-30)


def _disturbed(device: BareDevice, kernels: DeformConvLibrary, layers: Sequence[Layer]) -> tuple[int, int]:
    """Layers in pairs on two streams at once: how many results are not as alone, and of how many."""
    different = runs = 0
    pairs = zip(layers, [*layers[1:], *layers[:1]], strict=True)
    for seed, pair in enumerate(pairs):
        for name in (OURS[0], "fp32 NCHW"):
            alone = launches(device, kernels, FORMATS[name], pair, seed)
            run_all([each.run for each in alone])
            device.synchronize()
            copies = [[each.unwritten() for _ in range(AT_ONCE)] for each in alone]
            device.at_once([partial(run_all, [copy.run for copy in each]) for each in copies])
            for each, many in zip(alone, copies, strict=True):
                wanted = each.result()[0].tobytes()
                runs += AT_ONCE
                different += sum(copy.result()[0].tobytes() != wanted for copy in many)
    return different, runs


def expected(problem: Problem, values: Values) -> Doubles:
    """The result in float64."""
    x, offset, mask, weight, bias = (part.astype(np.float64) for part in values)
    return convolve(problem, x, offset, sigmoid(mask), weight, bias)


def convolve(
    problem: Problem, x: Doubles, offset: Doubles, mask: Doubles, weight: Doubles, bias: Doubles
) -> Doubles:
    """The convolution from its definition, [N, O, Ho, Wo], of tensors in NCHW and OIHW order.

    It shares nothing with the kernels: a corner's weight is (1 - |dy|)(1 - |dx|), not their four products.
    offset: [N, offset groups * taps * 2, Ho, Wo], (dy, dx); mask: [N, offset groups * taps, Ho, Wo].
    A point that is not a number, or infinitely far away, reads zero.
    """
    grid = _regular_grid(problem)
    weight = weight.reshape(problem.groups, -1, problem.depth)
    images = []
    for n in range(problem.batch):
        columns = _columns(problem, grid, x[n], offset[n], mask[n])
        product = weight @ columns.reshape(problem.groups, problem.depth, -1)
        images.append(product.reshape(-1, problem.out_height, problem.out_width))
    whole: Doubles = np.stack(images) + bias.reshape(-1, 1, 1)
    return whole


def _columns(
    problem: Problem, grid: tuple[Doubles, Doubles], x: Doubles, offset: Doubles, mask: Doubles
) -> Doubles:
    """[channels, taps * pixels]: every channel at every sampling point of one image."""
    offset = offset.reshape(problem.offset_groups, problem.taps, 2, problem.pixels)
    mask = mask.reshape(problem.offset_groups, -1)
    planes = x.reshape(problem.offset_groups, -1, problem.height * problem.width)
    groups = []
    for group in range(problem.offset_groups):
        y = _point(grid[0] + offset[group, :, 0], problem.height)
        x_ = _point(grid[1] + offset[group, :, 1], problem.width)
        groups.append(_sampled(problem, planes[group], y, x_) * mask[group])
    return np.concatenate(groups)


def _regular_grid(problem: Problem) -> tuple[Doubles, Doubles]:
    """Rows and columns [taps, pixels] that the kernel reads where all offsets are zero."""
    tap, pixel = np.arange(problem.taps)[:, None], np.arange(problem.pixels)[None]
    tap_row, tap_column = np.divmod(tap, problem.kernel_w)
    row, column = np.divmod(pixel, problem.out_width)
    y = row * problem.stride_h - problem.pad_top + tap_row * problem.dilation_h
    x = column * problem.stride_w - problem.pad_left + tap_column * problem.dilation_w
    return y.astype(np.float64), x.astype(np.float64)


def _point(place: Doubles, side: int) -> Doubles:
    """Coordinates, flat, those far outside brought to where all corners are outside as well."""
    place = np.where(np.isfinite(place), place, -2.0)
    return np.clip(place, -2.0, side + 1.0).reshape(-1)


def _sampled(problem: Problem, planes: Doubles, y: Doubles, x: Doubles) -> Doubles:
    """[channels, points] read bilinearly, zero outside of the image."""
    total = np.zeros((len(planes), y.size))
    for down in (0.0, 1.0):
        for right in (0.0, 1.0):
            row, column = np.floor(y) + down, np.floor(x) + right
            inside = (row >= 0) & (row < problem.height) & (column >= 0) & (column < problem.width)
            share = (1 - np.abs(y - row)) * (1 - np.abs(x - column)) * inside
            at = np.where(inside, row * problem.width + column, 0).astype(np.int64)
            total += planes[:, at] * share
    return total
