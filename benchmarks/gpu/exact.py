"""The convolution in float64, from its definition: what every kernel is compared with.

Written for a device's array library, so that the tests on a CPU and the comparison on a GPU are one code. It shares
nothing with the kernels: a corner's weight is (1 - |dy|)(1 - |dx|), not their four products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.device import Array, ArrayDevice
from benchmarks.gpu.shapes import Problem


def convolve(
    device: ArrayDevice, problem: Problem, x: Array, offset: Array, mask: Array, weight: Array, bias: Array | None
) -> Array:
    """The result [N, O, Ho, Wo] for float64 tensors in NCHW and OIHW order.

    offset: [N, offset groups * taps * 2, Ho, Wo], (dy, dx); mask: [N, offset groups * taps, Ho, Wo].
    A point that is not a number, or infinitely far away, reads zero.
    """
    xp = device.xp
    places = [device.put(place) for place in _undisturbed(problem)]
    images = [
        _product(problem, _columns(xp, problem, places, x[n], offset[n], mask[n]), weight) for n in range(problem.batch)
    ]
    result = xp.stack(images).reshape(problem.batch, problem.out_channels, problem.out_height, problem.out_width)
    return result if bias is None else result + bias.reshape(1, -1, 1, 1)


def _product(problem: Problem, columns: Array, weight: Array) -> Array:
    """[O, pixels] of one image's columns [channels, taps * pixels]."""
    per_group = problem.out_channels // problem.groups
    columns = columns.reshape(problem.groups, problem.depth, problem.pixels)
    return (weight.reshape(problem.groups, per_group, problem.depth) @ columns).reshape(problem.out_channels, -1)


def _columns(xp: Any, problem: Problem, places: list[Array], x: Array, offset: Array, mask: Array) -> Array:
    """[channels, taps * pixels]: every channel at every sampling point of one image."""
    offset = offset.reshape(problem.offset_groups, problem.taps, 2, problem.pixels)
    mask = mask.reshape(problem.offset_groups, -1)
    planes = x.reshape(problem.offset_groups, -1, problem.height * problem.width)
    rows, columns = places
    groups = []
    for group in range(problem.offset_groups):
        y = _point(xp, rows + offset[group, :, 0], problem.height)
        x_ = _point(xp, columns + offset[group, :, 1], problem.width)
        groups.append(_sampled(xp, problem, planes[group], y, x_) * mask[group])
    return xp.concatenate(groups)


def _undisturbed(problem: Problem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
