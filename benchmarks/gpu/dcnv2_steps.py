"""The steps about the DCNv2 kernel in their order, and how long each may take on an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, isfinite
from typing import TYPE_CHECKING

from benchmarks.gpu.correctness import (
    FORMATS,
    OURS,
    check_layers,
    check_streams,
    expected,
    relative_error,
)
from benchmarks.gpu.shapes import CHANNELS, ODD, SIZES, Layer, Problem, layers, least_bytes, shapes
from benchmarks.gpu.suite import Result, Step
from benchmarks.gpu.tensors import Launcher, Values, draw
from benchmarks.gpu.timing import Replay, Work, measure, run_all
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat

if TYPE_CHECKING:
    from benchmarks.gpu.torch_device import Array, CudaDevice

Maker = Callable[
    ["CudaDevice", Sequence[Layer], int], Work
]  # one pass over layers; the number seeds their tensors

_MOST_SETS = 32
#: torchvision's largest difference from our reference in float64, relative to the largest value.
SECOND_OPINION_LIMIT = 1e-9
MAIN = SIZES[0]  # the goals are about this size


@dataclass(frozen=True)
class Workload:
    """Sizes, batches and layers of a run; two streams and the reference are tried on the first size only."""

    sizes: Sequence[tuple[int, int]] = SIZES
    checked_batches: Sequence[int] = (1, 2, 8)
    timed_batches: Sequence[int] = (1, 8)
    depths: Sequence[int] = (50, 101)
    channels: Sequence[int] = CHANNELS
    iterations: int = 200
    matrix_side: int = 8192
    odd: Mapping[str, Problem] = field(default_factory=lambda: ODD)

    def shapes(self, size: tuple[int, int], batch: int) -> list[Layer]:
        """The distinct shapes, which both depths share; counts are those of ResNet50."""
        return shapes(50, size, batch, self.channels)


FULL = Workload()
QUICK = Workload(sizes=SIZES[:1], checked_batches=(1, 2), depths=(50,), iterations=20)


@dataclass(frozen=True)
class Dcnv2Bench(Launcher):
    """What the steps work with; ``second_opinion`` is another implementation in float64."""

    baselines: Mapping[str, Maker]
    second_opinion: Callable[[CudaDevice, Problem, Values], Array]
    workload: Workload


def steps(bench: Dcnv2Bench) -> Iterator[Step]:
    """The most decisive first: the main size, its correctness and its times, then the rest."""
    workload = bench.workload
    yield Step("odd shapes", 10, partial(_odd, bench))
    for number, size in enumerate(workload.sizes):
        share = size[0] * size[1] / (640 * 640)
        yield Step(f"correctness {size_text(size)}", 10 + 10 * share, partial(_correctness, bench, size))
        if number == 0:
            yield Step("two streams", 5, partial(_streams, bench))
            yield Step("second opinion", 3, partial(_second_opinion, bench))
            yield Step("ceilings", 3, partial(_ceilings, bench))
        for depth in workload.depths:
            for batch in workload.timed_batches:
                seconds = 3 + share * batch * (1 if depth == 50 else 0.5)
                yield Step(sums_name(depth, size, batch), seconds, partial(_sums, bench, depth, size, batch))
        for batch in workload.timed_batches:
            yield Step(layers_name(size, batch), 6 + share * batch / 2, partial(_layers, bench, size, batch))


def size_text(size: tuple[int, int]) -> str:
    """Height x width."""
    return f"{size[0]}x{size[1]}"


def sums_name(depth: int, size: tuple[int, int], batch: int) -> str:
    """The step that times a network's layers in sequence."""
    return f"sums R{depth} {size_text(size)} N={batch}"


def layers_name(size: tuple[int, int], batch: int) -> str:
    """The step that times every layer and tile."""
    return f"layers {size_text(size)} N={batch}"


def _odd(bench: Dcnv2Bench) -> Result:
    odd = [Layer(name, problem) for name, problem in bench.workload.odd.items()]
    return {"rows": check_layers(bench, odd, ("near", "far"))}


def _correctness(bench: Dcnv2Bench, size: tuple[int, int]) -> Result:
    rows: list[Result] = []
    for batch in bench.workload.checked_batches:
        shapes = bench.workload.shapes(size, batch)
        rows += check_layers(bench, shapes, ("near", "far") if batch == 2 else ("near",))
    return {"rows": rows}


def _streams(bench: Dcnv2Bench) -> Result:
    return {"rows": check_streams(bench, bench.workload.shapes(bench.workload.sizes[0], 1))}


def _second_opinion(bench: Dcnv2Bench) -> Result:
    rows: list[Result] = []
    form = DeformConvFormat()
    for seed, layer in enumerate(bench.workload.shapes(bench.workload.sizes[0], 1)):
        values = draw(bench.device, layer.problem, form, "near", seed)
        try:
            theirs = bench.second_opinion(bench.device, layer.problem, values)
        except (ImportError, RuntimeError) as error:
            return {"unavailable": _one_line(error), "rows": rows}
        difference = relative_error(bench.device, theirs, expected(bench.device, layer.problem, form, values))
        row = {"layer": layer.name, "difference": difference if isfinite(difference) else None}
        rows.append(row | {"limit": SECOND_OPINION_LIMIT})
    return {"rows": rows}


def _ceilings(bench: Dcnv2Bench) -> Result:
    """The best of this card: a half matrix product, and a copy (bytes read and written)."""
    device, side = bench.device, bench.workload.matrix_side
    left, right = (device.packed(device.normal((side, side), seed), "half") for seed in (1, 2))
    product, target = device.full((side, side), "half", 0.0), device.full((16, side, side), "half", 0.0)
    source = device.full((16, side, side), "half", 1.0)

    def copy() -> None:
        target[:] = source

    multiply = partial(device.xp.matmul, left, right, out=product)
    replays = {"multiply": device.record(multiply), "copy": device.record(copy)}
    times = measure(device.times_us, replays, 1, 20)
    moved = 2 * 2 * 16 * side**2
    return {
        "tflop_per_second": 2e-6 * side**3 / times["multiply"]["median_us"],
        "tb_per_second": 1e-6 * moved / times["copy"]["median_us"],
    }


def _sums(bench: Dcnv2Bench, depth: int, size: tuple[int, int], batch: int) -> Result:
    """A network's layers one after the other, ours and, for ResNet50, the baselines."""
    network = layers(depth, size, batch, bench.workload.channels)
    sets = sets_needed(bench.device, network)
    replays: dict[str, Replay] = {}
    unavailable = {}
    for name in OURS:
        replays |= _recorded(bench, name, network, {name: AUTO_TILE})
    for name, maker in bench.baselines.items() if depth == 50 else ():
        try:
            works = [maker(bench.device, network, seed) for seed in range(sets)]
            replays[name] = _recorded_if_possible(bench.device, partial(run_all, works))
        except Exception as error:  # noqa: BLE001  (a missing baseline is no failure of the kernel)
            unavailable[name] = _one_line(error)
    times = measure(bench.device.times_us, replays, sets, bench.workload.iterations)
    return {"times": times, "unavailable": unavailable}


def _layers(bench: Dcnv2Bench, size: tuple[int, int], batch: int) -> Result:
    rows = []
    for layer in bench.workload.shapes(size, batch):
        sets = sets_needed(bench.device, [layer])
        for name in OURS:
            count = bench.kernels.tile_count(layer.problem, FORMATS[name])
            tiles = {"auto": AUTO_TILE} | {f"tile {tile}": tile for tile in range(count)}
            replays = _recorded(bench, name, [layer], tiles)
            times = measure(bench.device.times_us, replays, sets, bench.workload.iterations)
            rows.append({"layer": layer.name, "format": name, "times": times})
    return {"rows": rows}


def sets_needed(device: CudaDevice, layers: Sequence[Layer]) -> int:
    """Sets of tensors in a graph, so that none is left in the cache when its turn comes again."""
    size = sum(least_bytes(layer.problem) for layer in layers)
    return min(max(ceil(4 * device.l2_bytes / size), 2), _MOST_SETS)


def _recorded(
    bench: Dcnv2Bench, form: str, layers: Sequence[Layer], tiles: Mapping[str, int]
) -> dict[str, Replay]:
    seeds = range(sets_needed(bench.device, layers))
    passes = [bench.launches(FORMATS[form], layers, seed) for seed in seeds]
    launches = [launch for each in passes for launch in each]
    works = {name: [partial(launch.run, tile) for launch in launches] for name, tile in tiles.items()}
    return {name: bench.device.record(partial(run_all, each)) for name, each in works.items()}


def _recorded_if_possible(device: CudaDevice, work: Work) -> Replay:
    """What cannot be recorded is launched piece by piece."""
    try:
        return device.record(work)
    except RuntimeError:
        return Replay(work, work, is_graph=False)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
