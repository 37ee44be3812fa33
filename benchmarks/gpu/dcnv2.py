"""The steps that time the DCNv2 kernel: layers in sequence beside its peers, each tile.

A CUDA graph holds one pass over each of some sets of tensors, together at least four times the L2 cache, but
32 sets at most; a time is that of a replay between two CUDA events, divided by the sets, as the median of the
runs. What is compared takes turns. PyTorch is needed for the peers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

from benchmarks.no_dcn import without_dcn
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvLibrary
from pssdet.validation.gpu_check.device import BareDevice, Replay, run_all, spread
from pssdet.validation.gpu_check.launches import FORMATS, OURS, Launch, launches
from pssdet.validation.gpu_check.model_engines import ModelCase, build_model
from pssdet.validation.gpu_check.plan import Findings, Given
from pssdet.validation.gpu_check.shapes import Layer, Problem, layers, shapes

ITERATIONS = 200
TURNS = 2  # of each of what is compared, so that a drift of the clocks meets all
_MOST_SETS = 32


def measured(device: BareDevice, replays: Mapping[str, Replay], sets: int) -> dict[str, Any]:
    """Microseconds of one pass of each, over all turns' runs; a replay holds a pass over each of the sets."""
    times: dict[str, list[float]] = {name: [] for name in replays}
    for _ in range(TURNS):
        for name, replay in replays.items():
            turn = device.times_us(replay.run, ceil(ITERATIONS / TURNS))
            times[name] += [time / sets for time in turn]
    found = {name: spread(values, 0.1, 0.9) for name, values in times.items()}
    keys = next(iter(found.values()))
    return {key: {name: each[key] for name, each in found.items()} for key in keys}


def sums(given: Given) -> Findings:
    """A network's layers one after the other, ours and, for ResNet50, the peers."""
    depth, height, width, batch = map(int, given.argument.split())
    device, kernels = BareDevice(), DeformConvLibrary()
    network = layers(depth, (height, width), batch)
    sets = sets_needed(device, network)
    replays = {name: _recorded(device, _launches(device, kernels, name, network, sets)) for name in OURS}
    unavailable: dict[str, str] = {}
    if depth == 50:
        _add_peers(replays, unavailable, device, network, sets)
    figures: dict[str, Any] = {**measured(device, replays, sets), "sets": sets, "not measured": unavailable}
    figures["piece by piece"] = [name for name, replay in replays.items() if not replay.is_graph]
    if gpu := gpu_named(device.name):
        figures["floor_us"] = round(sum(floor_us(layer.problem, gpu) for layer in network), 2)
    return Findings(figures)


def _add_peers(
    replays: dict[str, Replay], unavailable: dict[str, str], device: BareDevice, network: list[Layer], sets: int
) -> None:
    try:
        from benchmarks.gpu import peers
    except ImportError as error:
        unavailable["peers"] = f"PyTorch cannot be imported ({error})"
        return
    for name, maker in peers.PEERS.items():
        try:
            replays[name] = peers.recorded(device, [maker(network, seed) for seed in range(sets)])
        except Exception as error:  # noqa: BLE001  (a missing peer is no failure of the kernel)
            unavailable[name] = " ".join(f"{type(error).__name__} {error}".split())[:200]


def tiles(given: Given) -> Findings:
    """Every shape of the networks in each of our formats, with the tile that is chosen and with each."""
    height, width, batch = map(int, given.argument.split())
    device, kernels = BareDevice(), DeformConvLibrary()
    figures: dict[str, Any] = {}
    for layer in shapes(50, (height, width), batch):
        sets = sets_needed(device, [layer])
        for name in OURS:
            count = kernels.tile_count(layer.problem, FORMATS[name])
            choices = {"auto": AUTO_TILE} | {f"tile {tile}": tile for tile in range(count)}
            made = _launches(device, kernels, name, [layer], sets)
            replays = {label: _recorded(device, made, tile) for label, tile in choices.items()}
            figures[f"{layer.name} {name}"] = measured(device, replays, sets)["median_us"]
    return Findings(figures)


def sets_needed(device: BareDevice, layers: Sequence[Layer]) -> int:
    """Sets of tensors in a graph, so that none is left in the cache when its turn comes again."""
    size = sum(least_bytes(layer.problem) for layer in layers)
    return min(max(ceil(4 * device.l2_bytes / size), 2), _MOST_SETS)


def _launches(
    device: BareDevice, kernels: DeformConvLibrary, form: str, layers: Sequence[Layer], sets: int
) -> list[Launch]:
    return [each for seed in range(sets) for each in launches(device, kernels, FORMATS[form], layers, seed)]


def _recorded(device: BareDevice, made: Sequence[Launch], tile: int = AUTO_TILE) -> Replay:
    return device.record(partial(run_all, [partial(launch.run, tile) for launch in made]))


def build_without(given: Given) -> Findings:
    """The engine of a bundle's model with plain convolutions in place of the deformable ones, in FP16."""
    case = ModelCase.of(given)
    return build_model(case, without_dcn(case.bundle.model()))


@dataclass(frozen=True)
class GpuPeak:
    """A GPU's dense half-precision peak (float32 sums) and its memory's bandwidth."""

    flop_per_second: float
    bytes_per_second: float
    source: str


GPUS = {  # by a part of the name that the driver gives
    "H200": GpuPeak(
        790e12, 4.3e12, "measured on such a card: random bf16 matrix product, device-to-device copy"
    ),
    "V100-SXM2": GpuPeak(125e12, 900e9, "data sheet"),
    "A100-SXM4-40GB": GpuPeak(312e12, 1555e9, "data sheet"),
    "A100-SXM4-80GB": GpuPeak(312e12, 2039e9, "data sheet"),
    "H100 80GB HBM3": GpuPeak(989e12, 3.35e12, "data sheet"),
    "Tesla T4": GpuPeak(65e12, 320e9, "data sheet"),
}


def gpu_named(name: str) -> GpuPeak | None:
    """The figures of a GPU, if they are known."""
    return next((gpu for part, gpu in GPUS.items() if part in name), None)


def flop(problem: Problem) -> int:
    """Operations of the matrix product, a multiplication and an addition being two."""
    return 2 * problem.batch * problem.pixels * problem.out_channels * problem.depth


def least_bytes(problem: Problem) -> int:
    """Bytes that any implementation moves, each tensor once, in half precision."""
    x = problem.channels * problem.height * problem.width
    offsets = 3 * problem.offset_groups * problem.taps * problem.pixels
    y = problem.out_channels * problem.pixels
    return 2 * (problem.batch * (x + offsets + y) + problem.out_channels * problem.depth)


def floor_us(problem: Problem, gpu: GpuPeak) -> float:
    """The least time of a fused implementation, in microseconds: that of its operations or of its bytes."""
    return 1e6 * max(flop(problem) / gpu.flop_per_second, least_bytes(problem) / gpu.bytes_per_second)
