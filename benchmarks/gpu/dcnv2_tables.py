"""Tables of the report on DCNv2: correctness, layers in sequence, layers by tile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.documents import table
from benchmarks.gpu.correctness import RAW, SEPARATE
from benchmarks.gpu.dcnv2_goals import DEEPEST
from benchmarks.gpu.dcnv2_steps import layers_name, sums_name
from benchmarks.gpu.results import Results
from benchmarks.gpu.roofline import Gpu, floor_us, sum_floor_us, sum_im2col_floor_us
from benchmarks.gpu.shapes import DEPTHS, SIZES, layers, shapes

_NONE = "-"
_BATCHES = (1, 8)
_BASELINES = {"torchvision": "torchvision", "TensorRT": "tensorrt", "convolution": "convolution"}


def checked_steps(results: Results) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The steps that compare launches with float64, and what each found in every problem and format."""
    for name, entry in results.steps.items():
        if name == "odd shapes" or name.startswith("correctness"):
            yield name, entry["result"]["rows"]


def correctness_table(results: Results) -> list[str]:
    """One line for each step of checks and each format."""
    rows = []
    for step, checked in checked_steps(results):
        for form in dict.fromkeys(row["format"] for row in checked):
            of_form = [row for row in checked if row["format"] == form]
            rows.append((step, form, *_worst(of_form)))
    head = ("what", "format", "launches", "worst relative error", "limit", "in", f"at K = {DEEPEST}", "failures")
    return table(head, rows)


def _worst(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Launches, the worst error, its limit and place, the worst of the deepest products, and how many failed."""
    found = [
        (error, f"{row['layer']}, N={row['batch']}, {row['reach']} offsets, {tile}", row["k"])
        for row in rows
        for tile, error in row["errors"].items()
        if error is not None
    ]
    worst, place, _ = max(found, default=(None, _NONE, 0))
    deepest = max((error for error, _, k in found if k == DEEPEST), default=None)
    launches, failed = sum(len(row["errors"]) for row in rows), sum(len(row["failures"]) for row in rows)
    return str(launches), _power(worst), f"{rows[0]['limit']:.0e}", place, _power(deepest), str(failed)


def sums_table(results: Results, gpu: Gpu | None) -> list[str]:
    """One line for each network, size and batch, and what could not be measured."""
    rows, notes = [], []
    for depth, size, batch in ((depth, size, batch) for depth in DEPTHS for size in SIZES for batch in _BATCHES):
        name = sums_name(depth, size, batch)
        result = results.result(name)
        if result is None:
            continue
        times, network = result["times"], layers(depth, size, batch)
        floor, columns = (function(network, gpu) if gpu else None for function in (sum_floor_us, sum_im2col_floor_us))
        ours = [_median(times, form) for form in (SEPARATE, RAW)]
        cells = [cell for time in ours for cell in (_us(time), _share(floor, time))]
        baselines = [_us(_median(times, baseline)) for baseline in _BASELINES.values()]
        rows.append((name.removeprefix("sums "), _us(floor), *cells, _us(columns), *baselines))
        notes += [f"- {name}: {baseline} not measured ({why})" for baseline, why in result["unavailable"].items()]
        loose = [baseline for baseline, time in times.items() if not time["in_graph"]]
        notes += [f"- {name}: {baseline} was launched piece by piece, not in a graph" for baseline in loose]
    head = ("network", "floor", "separate", "share", "raw", "share", "im2col floor", *_BASELINES)
    explained = "Microseconds for one pass; shares are of the floor."
    return [*table(head, rows), "", explained, *([""] if notes else []), *notes]


def layer_tables(results: Results, gpu: Gpu | None) -> Iterator[tuple[str, list[str]]]:
    """For each size and batch a title and a table of layers by tile."""
    for size, batch in ((size, batch) for size in SIZES for batch in _BATCHES):
        name = layers_name(size, batch)
        result = results.result(name)
        if result is None:
            continue
        tiles = list(dict.fromkeys(tile for row in result["rows"] for tile in row["times"]))
        floors = {layer.name: floor_us(layer.problem, gpu) if gpu else None for layer in shapes(50, size, batch)}
        rows = [
            (row["layer"], row["format"], *_layer_cells(row["times"], tiles, floors[row["layer"]]))
            for row in result["rows"]
        ]
        head = ("layer", "format", "floor", "share", *tiles, "auto against the best")
        yield f"L{name[1:]}", [*table(head, rows), "", "Microseconds for one launch; the best tile in bold."]


def _layer_cells(times: dict[str, Any], tiles: list[str], floor: float | None) -> list[str]:
    found = {tile: _median(times, tile) for tile in tiles}
    chosen = found["auto"]
    best = min((time for tile, time in found.items() if time is not None and tile != "auto"), default=chosen)
    cells = [f"**{_us(time)}**" if tile != "auto" and time == best else _us(time) for tile, time in found.items()]
    loss = f"{chosen / best - 1:+.0%}" if chosen and best else _NONE
    return [_us(floor), _share(floor, chosen), *cells, loss]


def _median(times: dict[str, Any], name: str) -> float | None:
    return float(times[name]["median_us"]) if name in times else None


def _us(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _power(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1e}"


def _share(floor: float | None, time: float | None) -> str:
    return f"{floor / time:.0%}" if floor and time else "not computed"
