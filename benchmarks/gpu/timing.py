"""Work of a GPU, recorded to be run again, and its times as medians over many runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

Work = Callable[[], None]

TURNS = 2  # of each of what is compared, so that a drift of the clocks meets all


@dataclass(frozen=True)
class Replay:
    """Recorded work that can be run again."""

    run: Work
    keeps: object  # what the record refers to and must not be freed
    nodes: dict[str, int] | None = None  # operations by type, where the record can be asked
    is_graph: bool = True


Clock = Callable[[Work, int], list[float]]  # microseconds of each of so many runs, warmed up first


def run_all(works: Sequence[Work]) -> None:
    """One after the other."""
    for work in works:
        work()


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, between neighbours by a straight line."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, high = floor(place), ceil(place)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def measure(
    times_us: Clock, replays: Mapping[str, Replay], sets: int, iterations: int
) -> dict[str, dict[str, Any]]:
    """Microseconds of one pass of each, over all turns' runs; a replay holds a pass over each of the sets."""
    times: dict[str, list[list[float]]] = {name: [] for name in replays}
    for _ in range(TURNS):
        for name, replay in replays.items():
            turn = times_us(replay.run, ceil(iterations / TURNS))
            times[name].append([time / sets for time in turn])
    return {name: _summary(times[name], replay, sets) for name, replay in replays.items()}


def _summary(turns: list[list[float]], replay: Replay, sets: int) -> dict[str, Any]:
    values = [time for turn in turns for time in turn]
    return {
        "median_us": quantile(values, 0.5),
        "p10_us": quantile(values, 0.1),
        "p90_us": quantile(values, 0.9),
        "turns": [quantile(turn, 0.5) for turn in turns],
        "runs": len(values),
        "sets": sets,
        "in_graph": replay.is_graph,
        "nodes": replay.nodes,
    }
