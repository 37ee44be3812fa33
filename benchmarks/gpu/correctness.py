"""Every kernel and tile against float64: values, unwritten or foreign memory, repeatability, two streams at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from math import isfinite
from typing import Any

from benchmarks.gpu.device import Array, ArrayDevice, has_only_finite, same_bits
from benchmarks.gpu.kernels import AUTO, Format, KernelFailed, Kernels
from benchmarks.gpu.shapes import Layer, Problem
from benchmarks.gpu.tensors import Launch, Reach, arrange, draw, expected

SEPARATE = "fp16 NHWC"
RAW = "fp16 NHWC, raw"
#: What an engine may hand over: separate float32 offsets and masks, or the offset convolution's own half NHWC output.
FORMATS = {
    SEPARATE: Format(),
    RAW: Format(half_offset=True, offset_channels_last=True, raw_mask=True, relu=True),
    "fp16 NCHW": Format(channels_last=False, half_offset=True, raw_mask=True, relu=True),
    "fp32 NCHW": Format(half=False, channels_last=False),
}
#: Of the largest value. Half: the result's own rounding is 5e-4. Float: a coordinate near 300 has steps of 3e-5 pixels.
LIMITS = {True: 2e-3, False: 5e-5}
#: Launches that two streams do at once, each with an output of its own.
AT_ONCE = 16

Row = dict[str, Any]


def check(device: ArrayDevice, kernels: Kernels, name: str, layer: Layer, reach: Reach, seed: int) -> Row:
    """One problem in one format with every tile: the relative errors, and in words whatever else was wrong.

    name: of the format.
    """
    problem, form = layer.problem, FORMATS[name]
    row: Row = {"layer": layer.name, "batch": problem.batch, "k": problem.depth, "format": name, "reach": reach}
    row |= {"limit": LIMITS[form.half], "errors": {}, "failures": _size_failures(kernels, problem)}
    values = draw(device, problem, form, reach, seed)
    wanted = expected(device, problem, form, values)
    launch = arrange(device, kernels, problem, form, values)
    for tile in (AUTO, *range(kernels.tile_count(problem, form))):
        label = "auto" if tile == AUTO else f"tile {tile}"
        try:
            error, failures = _try(device, kernels, launch, tile, wanted, row["limit"])
        except KernelFailed as failed:
            error, failures = None, [str(failed)]
        row["errors"][label] = error
        row["failures"] += [f"{label}: {failure}" for failure in failures]
    return row


def _size_failures(kernels: Kernels, problem: Problem) -> list[str]:
    obtained, wanted = kernels.output_size(problem), (problem.out_height, problem.out_width)
    return [] if obtained == wanted else [f"the output's size is said to be {obtained}, it is {wanted}"]


def _try(
    device: ArrayDevice, kernels: Kernels, launch: Launch, tile: int, wanted: Array, limit: float
) -> tuple[float | None, list[str]]:
    """The relative error of two runs, and what was wrong with them."""
    runs = [launch.unwritten(device) for _ in range(2)]
    for run in runs:
        run.run(device, kernels, tile)
    device.synchronize()
    first, second = (run.result(device) for run in runs)
    failures = []
    if not all(run.has_intact_guards(device) for run in runs):
        failures.append("wrote outside of the output")
    if not has_only_finite(device, first):
        return None, [*failures, "values that are not finite, or were not written"]
    if not same_bits(device, first, second):
        failures.append("two runs differ")
    error = relative_error(device, first, wanted)
    if not error <= limit:
        failures.append(f"relative error {error:.1e}, the limit is {limit:.0e}")
    return error if isfinite(error) else None, failures


def relative_error(device: ArrayDevice, obtained: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest value wanted."""
    xp = device.xp
    difference = xp.abs(xp.asarray(obtained, dtype=xp.float64) - wanted)
    return float(difference.max()) / max(float(xp.abs(wanted).max()), 1e-30)


def check_streams(device: ArrayDevice, kernels: Kernels, layers: list[Layer]) -> list[Row]:
    """Layers in pairs, in both kernels, on two streams at once: each result must be what it is alone."""
    rows = []
    for name in (SEPARATE, "fp32 NCHW"):
        for seed, (one, other) in enumerate(_pairs(layers)):
            launches = [_prepared(device, kernels, layer, name, seed) for layer in (one, other)]
            wanted = [_alone(device, kernels, launch) for launch in launches]
            copies = [[launch.unwritten(device) for _ in range(AT_ONCE)] for launch in launches]
            replays = [device.record(partial(_run_all, device, kernels, runs)) for runs in copies]
            for run in chain(*copies):
                run.forget()
            device.at_once(replays)
            pairs = ((run, alone) for runs, alone in zip(copies, wanted, strict=True) for run in runs)
            bad = sum(not same_bits(device, run.result(device), alone) for run, alone in pairs)
            names = f"{one.name} and {other.name}"
            rows.append({"layers": names, "format": name, "runs": 2 * AT_ONCE, "different": bad})
    return rows


def _pairs(layers: list[Layer]) -> Iterator[tuple[Layer, Layer]]:
    yield from zip(layers, [*layers[1:], layers[0]], strict=True)


def _prepared(device: ArrayDevice, kernels: Kernels, layer: Layer, name: str, seed: int) -> Launch:
    form = FORMATS[name]
    return arrange(device, kernels, layer.problem, form, draw(device, layer.problem, form, "near", seed))


def _alone(device: ArrayDevice, kernels: Kernels, launch: Launch) -> Array:
    run = launch.unwritten(device)
    run.run(device, kernels)
    device.synchronize()
    return run.result(device)


def _run_all(device: ArrayDevice, kernels: Kernels, runs: list[Launch]) -> None:
    for run in runs:
        run.run(device, kernels)
