"""Every kernel and tile against float64: values, unwritten or foreign memory, repeatability, two streams."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.shapes import Layer, Problem
from benchmarks.gpu.suite import Result
from benchmarks.gpu.tensors import Launch, Launcher, Reach, Values, draw
from benchmarks.gpu.timing import run_all
from pssdet.errors import PssDetError
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat

if TYPE_CHECKING:
    from benchmarks.gpu.torch_device import Array, CudaDevice

SEPARATE = "fp16 NHWC"
RAW = "fp16 NHWC, raw"
OURS = (SEPARATE, RAW)
#: An engine hands over separate float32 offsets and masks, or the offset convolution's own half NHWC output.
FORMATS = {
    SEPARATE: DeformConvFormat(half=True, channels_last=True),
    RAW: DeformConvFormat(
        half=True, channels_last=True, half_offset=True, offset_channels_last=True, raw_mask=True, relu=True
    ),
    "fp16 NCHW": DeformConvFormat(half=True, half_offset=True, raw_mask=True, relu=True),
    "fp32 NCHW": DeformConvFormat(),
}
#: Of the largest value. Half: the result is rounded by 5e-4. Float: coordinates near 300 step by 3e-5 pixels.
LIMITS = {True: 2e-3, False: 5e-5}
AT_ONCE = 16  # launches of each stream, each with an output of its own


def check_layers(launcher: Launcher, layers: Sequence[Layer], reaches: Sequence[Reach]) -> list[Result]:
    """Every layer in every format."""
    return [
        _check(launcher, name, layer, reach, seed)
        for seed, layer in enumerate(layers)
        for name in FORMATS
        for reach in reaches
    ]


def _check(launcher: Launcher, name: str, layer: Layer, reach: Reach, seed: int) -> Result:
    device, problem, form = launcher.device, layer.problem, FORMATS[name]
    row: Result = {
        "layer": layer.name,
        "batch": problem.batch,
        "k": problem.depth,
        "format": name,
        "reach": reach,
    }
    row |= {"limit": LIMITS[form.half], "errors": {}, "failures": []}
    obtained, size = launcher.kernels.output_size(problem), (problem.out_height, problem.out_width)
    if obtained != size:
        row["failures"].append(f"the output's size is said to be {obtained}, it is {size}")
    values = draw(device, problem, form, reach, seed)
    wanted = expected(device, problem, form, values)
    launch = launcher.launch(problem, form, values)
    for tile in (AUTO_TILE, *range(launcher.kernels.tile_count(problem, form))):
        label = "auto" if tile == AUTO_TILE else f"tile {tile}"
        try:
            error, failures = _try(launch, tile, wanted, row["limit"])
        except PssDetError as failed:
            error, failures = None, [str(failed)]
        row["errors"][label] = error
        row["failures"] += [f"{label}: {failure}" for failure in failures]
    return row


def _try(launch: Launch, tile: int, wanted: Array, limit: float) -> tuple[float | None, list[str]]:
    """The relative error of two runs, and what was wrong with them."""
    device = launch.launcher.device
    runs = [launch.unwritten() for _ in range(2)]
    for run in runs:
        run.run(tile)
    device.synchronize()
    first, second = (run.result() for run in runs)
    failures = []
    if not all(run.has_intact_guards() for run in runs):
        failures.append("wrote outside of the output")
    if not device.xp.isfinite(first).all():
        return None, [*failures, "values that are not finite, or were not written"]
    if not _same_bits(device, first, second):
        failures.append("two runs differ")
    error = relative_error(device, first, wanted)
    if not error <= limit:
        failures.append(f"relative error {error:.1e}, the limit is {limit:.0e}")
    return error if isfinite(error) else None, failures


def relative_error(device: CudaDevice, obtained: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest value wanted."""
    xp = device.xp
    difference = xp.abs(xp.asarray(obtained, dtype=xp.float64) - wanted)
    return float(difference.max()) / max(float(xp.abs(wanted).max()), 1e-30)


def check_streams(launcher: Launcher, layers: Sequence[Layer]) -> list[Result]:
    """Layers in pairs on two streams at once, in both kernels: results must be as alone."""
    pairs = list(zip(layers, [*layers[1:], layers[0]], strict=True))
    names = (SEPARATE, "fp32 NCHW")
    return [_check_pair(launcher, name, pair, seed) for name in names for seed, pair in enumerate(pairs)]


def _check_pair(launcher: Launcher, name: str, pair: Sequence[Layer], seed: int) -> Result:
    device, launches = launcher.device, launcher.launches(FORMATS[name], pair, seed)
    run_all([launch.run for launch in launches])
    device.synchronize()
    wanted = [launch.result() for launch in launches for _ in range(AT_ONCE)]
    copies = [[launch.unwritten() for _ in range(AT_ONCE)] for launch in launches]
    replays = [device.record(partial(run_all, [run.run for run in runs])) for runs in copies]
    every = list(chain(*copies))
    for run in every:
        run.memory[:] = nan
    device.at_once(replays)
    same = [_same_bits(device, run.result(), alone) for run, alone in zip(every, wanted, strict=True)]
    layers = " and ".join(layer.name for layer in pair)
    return {"layers": layers, "format": name, "runs": len(every), "different": same.count(False)}


def _same_bits(device: CudaDevice, first: Array, second: Array) -> bool:
    """Whether two arrays of a type agree to the bit; NaNs do too."""
    whole = {2: device.xp.int16, 4: device.xp.int32}[first.dtype.itemsize]
    return bool((first.view(whole) == second.view(whole)).all())


def expected(device: CudaDevice, problem: Problem, form: DeformConvFormat, values: Values) -> Array:
    """The result in float64 by the device's array library: PyTorch on a GPU, NumPy in the tests."""
    xp = device.xp
    x, offset, mask, weight, bias = (xp.asarray(part, dtype=xp.float64) for part in values)
    if form.raw_mask:
        mask = 1 / (1 + xp.exp(-mask))
    y = convolve(device, problem, x, offset, mask, weight, bias)
    return xp.where(y < 0, 0.0, y) if form.relu else y


def convolve(
    device: CudaDevice, problem: Problem, x: Array, offset: Array, mask: Array, weight: Array, bias: Array
) -> Array:
    """The convolution from its definition, [N, O, Ho, Wo], for float64 tensors in NCHW and OIHW order.

    It shares nothing with the kernels: a corner's weight is (1 - |dy|)(1 - |dx|), not their four products.
    offset: [N, offset groups * taps * 2, Ho, Wo], (dy, dx); mask: [N, offset groups * taps, Ho, Wo].
    A point that is not a number, or infinitely far away, reads zero.
    """
    xp = device.xp
    grid = [device.put(positions) for positions in _regular_grid(problem)]
    weight = weight.reshape(problem.groups, -1, problem.depth)
    images = []
    for n in range(problem.batch):
        columns = _columns(xp, problem, grid, x[n], offset[n], mask[n])
        product = weight @ columns.reshape(problem.groups, problem.depth, -1)
        images.append(product.reshape(-1, problem.out_height, problem.out_width))
    return xp.stack(images) + bias.reshape(-1, 1, 1)


def _columns(xp: Any, problem: Problem, grid: list[Array], x: Array, offset: Array, mask: Array) -> Array:
    """[channels, taps * pixels]: every channel at every sampling point of one image."""
    offset = offset.reshape(problem.offset_groups, problem.taps, 2, problem.pixels)
    mask = mask.reshape(problem.offset_groups, -1)
    planes = x.reshape(problem.offset_groups, -1, problem.height * problem.width)
    rows, columns = grid
    groups = []
    for group in range(problem.offset_groups):
        y = _point(xp, rows + offset[group, :, 0], problem.height)
        x_ = _point(xp, columns + offset[group, :, 1], problem.width)
        groups.append(_sampled(xp, problem, planes[group], y, x_) * mask[group])
    return xp.concatenate(groups)


def _regular_grid(problem: Problem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns [taps, pixels] that the kernel reads where all offsets are zero."""
    tap, pixel = np.arange(problem.taps)[:, None], np.arange(problem.pixels)[None]
    tap_row, tap_column = np.divmod(tap, problem.kernel_w)
    row, column = np.divmod(pixel, problem.out_width)
    y = row * problem.stride_h - problem.pad_top + tap_row * problem.dilation_h
    x = column * problem.stride_w - problem.pad_left + tap_column * problem.dilation_w
    return y.astype(np.float64), x.astype(np.float64)


def _point(xp: Any, place: Array, side: int) -> Array:
    """Coordinates, flat, those far outside brought to where all corners are outside as well."""
    place = xp.where(xp.isfinite(place), place, -2.0)
    return xp.clip(place, -2.0, side + 1.0).reshape(-1)


def _sampled(xp: Any, problem: Problem, planes: Array, y: Array, x: Array) -> Array:
    """[channels, points] read bilinearly, zero outside of the image."""
    total = 0.0
    for down in (0.0, 1.0):
        for right in (0.0, 1.0):
            row, column = xp.floor(y) + down, xp.floor(x) + right
            inside = (row >= 0) & (row < problem.height) & (column >= 0) & (column < problem.width)
            share = (1 - xp.abs(y - row)) * (1 - xp.abs(x - column)) * inside
            at = xp.where(inside, row * problem.width + column, 0.0)
            total = total + planes[:, xp.asarray(at, dtype=xp.int64)] * share
    return total
