"""The stages of a run in their order: what each computes, and how long it may take on an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite

from benchmarks.gpu.correctness import FORMATS, RAW, SEPARATE, Row, check, check_streams, relative_error
from benchmarks.gpu.device import Array, Device
from benchmarks.gpu.kernels import Format, Kernels
from benchmarks.gpu.plan import Plan, layers_name, size_text, sums_name
from benchmarks.gpu.shapes import Layer, Problem
from benchmarks.gpu.suite import Result, Stage
from benchmarks.gpu.tensors import Values, draw, expected
from benchmarks.gpu.timing import Maker, layer_times, measure, ours, record_sets, sets_needed

#: torchvision's largest difference from our reference in float64, relative to the largest value.
SECOND_OPINION_LIMIT = 1e-9


@dataclass(frozen=True)
class Bench:
    """What stages work with. ``second_opinion`` is another implementation in float64, if there is one."""

    device: Device
    kernels: Kernels
    peers: Mapping[str, Maker]
    second_opinion: Callable[[Device, Problem, Values], Array] | None
    plan: Plan


def stages(bench: Bench) -> Iterator[Stage]:
    """What decides most comes first: the main size, right and fast, then the rest."""
    plan = bench.plan
    yield Stage("odd shapes", 10, partial(_odd, bench))
    for number, size in enumerate(plan.sizes):
        share = size[0] * size[1] / (640 * 640)
        yield Stage(f"correctness {size_text(size)}", 10 + 10 * share, partial(_correctness, bench, size))
        if number == 0:
            yield Stage("two streams", 5, partial(_streams, bench))
            yield Stage("second opinion", 3, partial(_second_opinion, bench))
            yield Stage("ceilings", 3, partial(_ceilings, bench))
        for depth in plan.depths:
            for batch in plan.timed_batches:
                seconds = 3 + share * batch * (1 if depth == 50 else 0.5)
                yield Stage(sums_name(depth, size, batch), seconds, partial(_sums, bench, depth, size, batch))
        for batch in plan.timed_batches:
            yield Stage(layers_name(size, batch), 6 + share * batch / 2, partial(_layers, bench, size, batch))


def _odd(bench: Bench) -> Result:
    rows: list[Row] = []
    for seed, (name, problem) in enumerate(bench.plan.odd.items()):
        for form in FORMATS:
            rows.append(check(bench.device, bench.kernels, form, Layer(name, problem), "near", seed))
            rows.append(check(bench.device, bench.kernels, form, Layer(name, problem), "far", seed))
    return {"rows": rows}


def _correctness(bench: Bench, size: tuple[int, int]) -> Result:
    rows: list[Row] = []
    for batch in bench.plan.checked_batches:
        for seed, layer in enumerate(bench.plan.shapes(size, batch)):
            for form in FORMATS:
                rows.append(check(bench.device, bench.kernels, form, layer, "near", seed))
                if batch == 2:
                    rows.append(check(bench.device, bench.kernels, form, layer, "far", seed))
    return {"rows": rows}


def _streams(bench: Bench) -> Result:
    return {"rows": check_streams(bench.device, bench.kernels, bench.plan.shapes(bench.plan.sizes[0], 1))}


def _second_opinion(bench: Bench) -> Result:
    """Our float64 reference against somebody else's."""
    if bench.second_opinion is None:
        return {"unavailable": "there is no other float64 implementation here", "rows": []}
    rows: list[Row] = []
    form = Format(half=False, channels_last=False)
    for seed, layer in enumerate(bench.plan.shapes(bench.plan.sizes[0], 1)):
        values = draw(bench.device, layer.problem, form, "near", seed)
        try:
            theirs = bench.second_opinion(bench.device, layer.problem, values)
        except (ImportError, RuntimeError) as error:
            return {"unavailable": _one_line(error), "rows": rows}
        difference = relative_error(bench.device, theirs, expected(bench.device, layer.problem, form, values))
        row = {"layer": layer.name, "difference": difference if isfinite(difference) else None}
        rows.append(row | {"limit": SECOND_OPINION_LIMIT})
    return {"rows": rows}


def _ceilings(bench: Bench) -> Result:
    """What this card does at best here: a half matrix product; a copy in its memory, bytes read and written."""
    device, side = bench.device, bench.plan.matrix_side
    left, right = (device.packed(device.normal((side, side), seed), "float16") for seed in (1, 2))
    product, target = device.full((side, side), "float16", 0.0), device.full((16, side, side), "float16", 0.0)
    source = device.full((16, side, side), "float16", 1.0)

    def copy() -> None:
        target[:] = source

    def multiply() -> None:
        device.xp.matmul(left, right, out=product)

    replays = {"multiply": device.record(multiply), "copy": device.record(copy)}
    times = measure(device, replays, 1, 20)
    moved = 2 * 2 * 16 * side**2
    return {
        "tflop_per_second": 2e-6 * side**3 / times["multiply"].median_us,
        "tb_per_second": 1e-6 * moved / times["copy"].median_us,
    }


def _sums(bench: Bench, depth: int, size: tuple[int, int], batch: int) -> Result:
    """A network's layers one after the other, ours and, for ResNet50, the peers'."""
    device, layers = bench.device, bench.plan.layers(depth, size, batch)
    sets = sets_needed(device, layers)
    replays, unavailable = {}, {}
    for name in (SEPARATE, RAW):
        maker = ours(bench.kernels, FORMATS[name])
        replays[name] = record_sets(device, [maker(device, layers, seed) for seed in range(sets)])
    for name, maker in bench.peers.items() if depth == 50 else ():
        try:
            works = [maker(device, layers, seed) for seed in range(sets)]
            replays[name] = record_sets(device, works, strict=False)
        except Exception as error:  # noqa: BLE001  (a peer that cannot run is a gap in the table, not our failure)
            unavailable[name] = _one_line(error)
    times = measure(device, replays, sets, bench.plan.iterations)
    return {"times": {name: asdict(timing) for name, timing in times.items()}, "unavailable": unavailable}


def _layers(bench: Bench, size: tuple[int, int], batch: int) -> Result:
    """Every distinct layer, each tile."""
    rows = []
    for layer in bench.plan.shapes(size, batch):
        for name in (SEPARATE, RAW):
            times = layer_times(bench.device, bench.kernels, FORMATS[name], layer, bench.plan.iterations)
            rows.append({"layer": layer.name, "format": name, "times": times})
    return {"rows": rows}


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
