"""The steps that time the DCNv2 kernel: a network's layers in sequence beside its peers, tiles, the card's ceilings.

A CUDA graph holds one pass over each of some sets of tensors, together at least four times the L2 cache (but 32 sets
at most); a time is that of a replay between two CUDA events, divided by the sets, as the median of the runs. What is
compared takes turns. PyTorch is needed for the peers and ceilings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any

from benchmarks.gpu.roofline import floor_us, gpu_named, im2col_floor_us, least_bytes
from benchmarks.no_dcn import without_dcn
from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvLibrary
from pssdet.validation.gpu_check.device import BareDevice, Replay, quantile, run_all
from pssdet.validation.gpu_check.launches import FORMATS, OURS, launches
from pssdet.validation.gpu_check.model_engines import ModelCase, build_model
from pssdet.validation.gpu_check.plan import Findings, Given
from pssdet.validation.gpu_check.shapes import Layer, layers, shapes

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
    shares = {"median_us": 0.5, "p10_us": 0.1, "p90_us": 0.9}
    return {
        key: {name: round(quantile(values, share), 2) for name, values in times.items()}
        for key, share in shares.items()
    }


def sums(given: Given) -> Findings:
    """A network's layers one after the other, ours and, for ResNet50, the peers."""
    depth, height, width, batch = map(int, given.argument.split())
    device, kernels = BareDevice(), DeformConvLibrary()
    network = layers(depth, (height, width), batch)
    sets = sets_needed(device, network)
    replays = {name: _recorded(device, kernels, name, network, sets, AUTO_TILE) for name in OURS}
    unavailable: dict[str, str] = {}
    if depth == 50:
        _add_peers(replays, unavailable, device, network, sets)
    figures: dict[str, Any] = {**measured(device, replays, sets), "sets": sets, "not measured": unavailable}
    figures["piece by piece"] = [name for name, replay in replays.items() if not replay.is_graph]
    if gpu := gpu_named(device.name):
        for name, floor in (("floor_us", floor_us), ("im2col_floor_us", im2col_floor_us)):
            figures[name] = round(sum(floor(layer.problem, gpu) for layer in network), 2)
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
            replays = {
                label: _recorded(device, kernels, name, [layer], sets, tile) for label, tile in choices.items()
            }
            figures[f"{layer.name} {name}"] = measured(device, replays, sets)["median_us"]
    return Findings(figures)


def ceilings(_: Given) -> Findings:
    """The best of this card: a half matrix product, and a copy (bytes read and written)."""
    try:
        from benchmarks.gpu import peers
    except ImportError as error:
        raise EnvironmentMissing(f"PyTorch cannot be imported ({error})") from error
    return Findings(peers.ceilings(BareDevice()))


def sets_needed(device: BareDevice, layers: Sequence[Layer]) -> int:
    """Sets of tensors in a graph, so that none is left in the cache when its turn comes again."""
    size = sum(least_bytes(layer.problem) for layer in layers)
    return min(max(ceil(4 * device.l2_bytes / size), 2), _MOST_SETS)


def _recorded(
    device: BareDevice, kernels: DeformConvLibrary, form: str, layers: Sequence[Layer], sets: int, tile: int
) -> Replay:
    passes = [launches(device, kernels, FORMATS[form], layers, seed) for seed in range(sets)]
    return device.record(partial(run_all, [partial(launch.run, tile) for each in passes for launch in each]))


def build_without(given: Given) -> Findings:
    """The engine of a bundle's model with plain convolutions in place of the deformable ones, in FP16."""
    case = ModelCase.of(given)
    return build_model(case, without_dcn(case.bundle.model()))
