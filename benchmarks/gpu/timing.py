"""Times of layers one by one and of a network's layers in sequence, as medians over many runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor
from typing import Any

from benchmarks.gpu.device import ArrayDevice, Device, Replay, Work
from benchmarks.gpu.kernels import AUTO, Format, Kernels
from benchmarks.gpu.roofline import least_bytes
from benchmarks.gpu.shapes import Layer
from benchmarks.gpu.tensors import Launch, arrange, draw

#: Times are taken in so many turns among what is compared, so that a drift of the clocks meets all of them.
TURNS = 2
_MOST_SETS = 32

#: Makes the work of one pass over layers, from a seed for its tensors.
Maker = Callable[[ArrayDevice, Sequence[Layer], int], Work]


@dataclass(frozen=True)
class Timing:
    """Microseconds of one pass, over the runs of all turns; ``turns`` are the medians of each turn."""

    median_us: float
    p10_us: float
    p90_us: float
    turns: list[float]
    runs: int
    sets: int
    in_graph: bool
    nodes: dict[str, int] | None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, between neighbours by a straight line."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = floor(place), ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def sets_needed(device: ArrayDevice, layers: Sequence[Layer]) -> int:
    """How many sets of tensors a graph goes through, so that none is left in the cache when its turn comes again."""
    size = sum(layer.count * least_bytes(layer.problem) for layer in layers)
    return min(max(ceil(4 * device.l2_bytes / size), 2), _MOST_SETS)


def ours(kernels: Kernels, form: Format, tile: int = AUTO) -> Maker:
    """Our kernel over layers with random tensors."""

    def make(device: ArrayDevice, layers: Sequence[Layer], seed: int) -> Work:
        launches = prepared(device, kernels, form, layers, seed)
        return partial(_run, device, kernels, launches, tile)

    return make


def prepared(device: ArrayDevice, kernels: Kernels, form: Format, layers: Sequence[Layer], seed: int) -> list[Launch]:
    """Launches over layers, each with tensors of its own."""
    seeds = range(1000 * seed, 1000 * seed + len(layers))
    return [
        arrange(device, kernels, layer.problem, form, draw(device, layer.problem, form, "near", number))
        for layer, number in zip(layers, seeds, strict=True)
    ]


def _run(device: ArrayDevice, kernels: Kernels, launches: Sequence[Launch], tile: int) -> None:
    for launch in launches:
        launch.run(device, kernels, tile)


def record_sets(device: Device, works: Sequence[Work], *, strict: bool = True) -> Replay:
    """One graph that does all the works in turn.

    strict: whether work that cannot be recorded is an error; else it is launched piece by piece.
    """

    def all_works() -> None:
        for work in works:
            work()

    try:
        return device.record(all_works)
    except RuntimeError:
        if strict:
            raise
        return Replay(all_works, works, is_graph=False)


def measure(device: Device, replays: Mapping[str, Replay], sets: int, iterations: int) -> dict[str, Timing]:
    """Times of what is compared, one pass each; a replay holds a pass over each of the sets."""
    times: dict[str, list[list[float]]] = {name: [] for name in replays}
    for _ in range(TURNS):
        for name, replay in replays.items():
            turn = device.times_us([replay], ceil(iterations / TURNS))
            times[name].append([time / sets for time in turn])
    return {name: _timing(times[name], replay, sets) for name, replay in replays.items()}


def _timing(turns: list[list[float]], replay: Replay, sets: int) -> Timing:
    values = [time for turn in turns for time in turn]
    return Timing(
        median_us=quantile(values, 0.5),
        p10_us=quantile(values, 0.1),
        p90_us=quantile(values, 0.9),
        turns=[quantile(turn, 0.5) for turn in turns],
        runs=len(values),
        sets=sets,
        in_graph=replay.is_graph,
        nodes=replay.nodes,
    )


def layer_times(device: ArrayDevice, kernels: Kernels, form: Format, layer: Layer, iterations: int) -> dict[str, Any]:
    """One layer with the library's own choice of tile and with each."""
    alone = [Layer(layer.name, layer.problem)]
    sets = sets_needed(device, alone)
    launches = [prepared(device, kernels, form, alone, seed) for seed in range(sets)]
    tiles = {"auto": AUTO} | {f"tile {tile}": tile for tile in range(kernels.tile_count(layer.problem, form))}
    replays = {
        name: record_sets(device, [partial(_run, device, kernels, pass_, tile) for pass_ in launches])
        for name, tile in tiles.items()
    }
    return {name: timing.__dict__ for name, timing in measure(device, replays, sets, iterations).items()}
