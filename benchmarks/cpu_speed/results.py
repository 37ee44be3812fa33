"""What a run found: medians, ratios with their spread, and the goals as met or missed."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.cpu_speed.peak_memory import Peak
from benchmarks.cpu_speed.profile import OTHER, Profile
from benchmarks.cpu_speed.workers import Rounds

_FASTER_PLAIN = "the faster plain one"
_PLAIN = ("onnxruntime_plain", "openvino_plain")

#: Times that are divided by each other: (of, by), candidates or the faster of the plain ones.
RATIOS = (
    ("ours_fp32", "floor"),
    ("ours_fp32", _FASTER_PLAIN),
    ("ours_fp32", "ours_bf16"),
    ("ours_fp32", "ours_int8"),
    ("paddle", "ours_fp32"),
    ("paddle", "ours_int8"),
    ("paddle_eager", "ours_fp32"),
    ("paddle_eager", "ours_int8"),
)


class Ratio(msgspec.Struct, frozen=True):
    """How long one takes as a multiple of another: median and quartiles over the rounds in which both ran."""

    median: float
    low: float
    high: float


class Batch(msgspec.Struct, frozen=True):
    """The times of one batch size, in seconds a picture; ``ratios`` by ``ratio_name``."""

    batch: int
    rounds: dict[str, int]
    median_s: dict[str, float]
    min_s: dict[str, float]
    ratios: dict[str, Ratio]
    others: float  # processor cores that other programs used meanwhile


class Result(msgspec.Struct, frozen=True):
    """Everything about one detector; ``median_s`` is that of batch 1."""

    machine: dict[str, str]
    model: str
    name: str  # on the command line
    size: tuple[int, int]  # (height, width) of the network's input
    seeded: bool
    accuracy: str
    median_s: dict[str, float]
    batches: tuple[Batch, ...]
    profiles: dict[str, Profile]
    peak_bytes: dict[str, Peak]
    missing: dict[str, str]


def ratio_name(of: str, by: str) -> str:
    """What a ratio is called."""
    return f"{of} / {by}"


def summarise(batch: int, times: Rounds, others: float) -> Batch:
    """The figures of the rounds of one batch size."""
    kept = {name: seconds for name, seconds in times.items() if seconds}
    medians = {name: median(seconds.values()) for name, seconds in kept.items()}
    columns = dict(kept)
    if plain := [name for name in _PLAIN if name in kept]:
        columns[_FASTER_PLAIN] = kept[min(plain, key=medians.__getitem__)]
    return Batch(
        batch=batch,
        rounds={name: len(seconds) for name, seconds in kept.items()},
        median_s={name: seconds / batch for name, seconds in medians.items()},
        min_s={name: min(seconds.values()) / batch for name, seconds in kept.items()},
        ratios={
            ratio_name(of, by): _ratio(columns[of], columns[by])
            for of, by in RATIOS
            if of in columns and by in columns
        },
        others=others,
    )


def _ratio(of: Mapping[int, float], by: Mapping[int, float]) -> Ratio:
    each = [of[number] / by[number] for number in of if number in by]
    low, middle, high = np.percentile(each, (25, 50, 75)).tolist()
    return Ratio(middle, low, high)


class Goal(NamedTuple):
    """A limit on a figure of one detector at batch 1."""

    model: str
    figure: str
    limit: float
    unit: str = "x"
    at_least: bool = False  # else at most


_ROW4, _ROW3 = "faster_rcnn_enhance_3x_coco", "cascade_rcnn_dcn_r101_vd_fpn_3x_server_side"
_REST = "neither convolution, matrix product nor DCN: "
_PEAK = "peak memory of "
GOALS = (
    Goal(_ROW4, ratio_name("ours_fp32", "floor"), 1.15),
    Goal(_ROW4, ratio_name("ours_fp32", _FASTER_PLAIN), 1.0),
    Goal(_ROW4, ratio_name("ours_fp32", "ours_bf16"), 1.45, at_least=True),
    Goal(_ROW4, ratio_name("ours_fp32", "ours_int8"), 1.6, at_least=True),
    Goal(_ROW4, ratio_name("paddle", "ours_fp32"), 7.0, at_least=True),
    Goal(_ROW4, ratio_name("paddle_eager", "ours_fp32"), 7.0, at_least=True),
    Goal(_ROW4, f"{_REST}ours_fp32", 4.0, "%"),
    Goal(_ROW4, f"{_REST}ours_int8", 8.0, "%"),
    *(Goal(_ROW3, f"{_PEAK}{name}", 1.5, "GB") for name in ("ours_fp32", "ours_bf16", "ours_int8")),
)


class Judged(NamedTuple):
    """A goal and the figure that was measured."""

    goal: Goal
    value: float

    @property
    def excess(self) -> float:
        """By how much the goal is missed, in percent of its limit; not above 0 if it is met."""
        relative = self.value / self.goal.limit - 1.0
        return -100.0 * relative if self.goal.at_least else 100.0 * relative


def judge(result: Result) -> list[Judged]:
    """The goals of a detector whose figures were measured."""
    figures = _figures(result)
    return [
        Judged(goal, figures[goal.figure])
        for goal in GOALS
        if goal.model == result.model and goal.figure in figures
    ]


def _figures(result: Result) -> dict[str, float]:
    figures: dict[str, float] = {}
    for each in result.batches:
        if each.batch == 1:
            figures |= {name: ratio.median for name, ratio in each.ratios.items()}
    figures |= {f"{_REST}{name}": 100.0 * profile.shares[OTHER] for name, profile in result.profiles.items()}
    figures |= {f"{_PEAK}{name}": max(peak.first, peak.later) / 1e9 for name, peak in result.peak_bytes.items()}
    return figures
