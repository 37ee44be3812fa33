"""Failed checks, goals and the report of the DCNv2 kernel, from the stored JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import inf
from typing import Any

from benchmarks.documents import document, table
from benchmarks.gpu.correctness import OURS
from benchmarks.gpu.dcnv2_steps import MAIN, layers_name, sums_name
from benchmarks.gpu.shapes import (
    DEPTHS,
    SIZES,
    GpuPeak,
    Layer,
    Problem,
    floor_us,
    gpu_named,
    im2col_floor_us,
    layers,
    shapes,
)
from benchmarks.gpu.suite import Goal, Results, environment_section, goal_table

GPU = "H200"  # the goals about times are for it
DEEPEST = 4608
COUNT = 13
_LABELS = {"torchvision": "torchvision's deform_conv2d", "tensorrt": "TensorRT's ModulatedDeformConv2d"}
_BATCHES = (1, 8)
_BASELINES = {"torchvision": "torchvision", "TensorRT": "tensorrt", "convolution": "convolution"}
_NONE = "-"
_SHOWN = 20
_METHOD = (
    "Method: random tensors, offsets of 1.5 pixels' standard deviation. A CUDA graph holds one pass over each"
    " of some sets of tensors, together at least four times the L2 cache (but 32 sets at most); a time is that"
    " of a replay between two CUDA events, divided by the sets, as the median of the runs. What is compared"
    " takes turns. Separate: float32 offsets and masks of their own; raw: the offset convolution's half NHWC"
    " output, the sigmoid done by the kernel. The floor is the longer of operations at the GPU's peak and bytes"
    " at its bandwidth, each tensor moved once, in half precision."
)


def failures(results: Results) -> list[str]:
    """Every failed check, in words."""
    return [*_failed_launches(results), *_disturbed_streams(results), *_contradictions(results)]


def checks(results: Results) -> str:
    """How many launches were compared, in words."""
    made = sum(len(row["errors"]) for _, rows in _checked_steps(results) for row in rows)
    return f"{made:,} launches compared with float64"


def _failed_launches(results: Results) -> Iterator[str]:
    for step, rows in _checked_steps(results):
        for row in rows:
            where = f"{step}, {row['layer']}, N={row['batch']}, {row['format']}, {row['reach']} offsets"
            yield from (f"{where}: {failure}" for failure in row["failures"])


def _disturbed_streams(results: Results) -> Iterator[str]:
    for row in results.rows("two streams"):
        if row["different"]:
            yield (
                f"two streams, {row['layers']}, {row['format']}:"
                f" {row['different']} of {row['runs']} results differ"
            )


def _contradictions(results: Results) -> Iterator[str]:
    for row in results.rows("second opinion"):
        difference = row["difference"]
        if difference is None or difference > row["limit"]:
            yield (
                f"second opinion, {row['layer']}:"
                f" the float64 reference differs from torchvision's by {difference}"
            )


def _checked_steps(results: Results) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, entry in results.steps.items():
        if name == "odd shapes" or name.startswith("correctness"):
            yield name, entry["result"]["rows"]


def goals(results: Results) -> list[Goal]:
    """All goals in their order."""
    eight_times = "N=8 takes at most 8 times as long as N=1"
    return [
        _total(results, 8, 415),
        _total(results, 1, 120),
        _faster(results, "torchvision", 1, 3),
        _faster(results, "torchvision", 8, 4),
        _faster(results, "tensorrt", 1, 2),
        _faster(results, "tensorrt", 8, 3),
        _near_convolution(results, 1),
        _near_convolution(results, 8),
        _only_kernels(results),
        _exact(results),
        _ratio(results, 4, eight_times, _sum_us(results, 8), _sum_us(results, 1), most=8),
    ]


def _total(results: Results, batch: int, limit: float) -> Goal:
    text = f"the {COUNT} layers of ResNet50 at 640x640, N={batch}, in one CUDA graph: at most {limit:g} us"
    time, floor = _sum_us(results, batch), _floor_us(results, layers(50, MAIN, batch))
    share = f", {floor / time:.0%} of the roofline" if time and floor else ""
    measured = f"{time:.0f} us{share}" if time else None
    return _speed(results, 1, text, measured, is_met=time is not None and time <= limit)


def _faster(results: Results, baseline: str, batch: int, least: float) -> Goal:
    text = f"at least {least:g} times as fast as {_LABELS[baseline]}, half precision, N={batch}"
    return _ratio(results, 2, text, _sum_us(results, batch, [baseline]), _sum_us(results, batch), least=least)


def _near_convolution(results: Results, batch: int) -> Goal:
    text = f"at most 1.5 times as long as the same plain convolutions by cuDNN, N={batch}"
    return _ratio(results, 3, text, _sum_us(results, batch), _sum_us(results, batch, ["convolution"]), most=1.5)


def _ratio(
    results: Results,
    number: int,
    text: str,
    one: float | None,
    other: float | None,
    *,
    least: float = 0,
    most: float = inf,
) -> Goal:
    ratio = one / other if one and other else None
    measured = f"{ratio:.{1 if least else 2}f} times" if ratio else None
    return _speed(results, number, text, measured, is_met=ratio is not None and least <= ratio <= most)


def _speed(results: Results, number: int, text: str, measured: str | None, *, is_met: bool) -> Goal:
    return Goal.of(number, text, measured, judged=GPU in results.identity["gpu"], is_met=is_met)


def _sum_us(results: Results, batch: int, names: Sequence[str] = OURS) -> float | None:
    """The time of ResNet50's layers by the slowest of these, if all were measured."""
    times = _times(results, sums_name(50, MAIN, batch))
    found = [float(times[name]["median_us"]) for name in names if name in times]
    return max(found) if len(found) == len(names) else None


def _times(results: Results, step: str) -> dict[str, dict[str, Any]]:
    found = results.result(step)
    return found["times"] if found else {}


def _only_kernels(results: Results) -> Goal:
    text = (
        "no workspace, one launch per layer for any batch: graphs hold one kernel per layer and no other node"
    )
    measured = [_times(results, sums_name(50, MAIN, batch)) for batch in _BATCHES]
    ours = [times[name] for times in measured for name in OURS if name in times]
    if not ours or any(time["nodes"] is None for time in ours):
        return Goal.of(4, text, None, judged=True, is_met=False)
    counts = [(time["nodes"], COUNT * time["sets"]) for time in ours]
    words = "; ".join(f"{_words(nodes)} for {wanted} layers" for nodes, wanted in counts)
    is_met = all(nodes == {"kernel": wanted} for nodes, wanted in counts)
    return Goal.of(4, text, words, judged=True, is_met=is_met)


def _words(nodes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(nodes.items()))


def _exact(results: Results) -> Goal:
    checked = [row for _, found in results.with_prefix("correctness") for row in found["rows"]]
    deepest = [row for row in checked if row["k"] == DEEPEST and row["format"].startswith("fp16")]
    errors = [error for row in deepest for error in row["errors"].values()]
    text = f"relative error against float64 at K = {DEEPEST} at most 2e-3, half precision"
    missing = None in errors
    worst = max((error for error in errors if error is not None), default=None)
    measured = f"{'no finite result in some; ' if missing else ''}{worst or 0:.1e} at most" if errors else None
    is_met = not missing and worst is not None and worst <= 2e-3
    return Goal.of(4, text, measured, judged=True, is_met=is_met)


def render(results: Results) -> str:
    """The whole document."""
    return document(
        f"# DCNv2 on {results.identity['gpu']}",
        _head(results),
        _roofline(results),
        _METHOD,
        "## Goals",
        goal_table(goals(results)),
        "Speed is judged by the slower of our two formats, and on an H200 only.",
        "## Correctness",
        _correctness_table(results),
        _other_checks(results),
        "## Layers in sequence",
        _sums_table(results),
        *(block for title, lines in _layer_tables(results) for block in (f"## {title}", lines)),
        environment_section(results),
        "Made by `python benchmarks/gpu/dcnv2.py`.",
    )


def _head(results: Results) -> list[str]:
    kind = "A quick run: few iterations, one size. " if results.identity["quick"] else ""
    failed = failures(results)
    lines = [f"{kind}{checks(results)}, {len(failed)} failures."]
    if failed:
        lines += ["", *(f"- {failure}" for failure in failed[:_SHOWN])]
    if len(failed) > _SHOWN:
        lines.append(f"- and {len(failed) - _SHOWN} more, in the JSON file")
    return lines


def _roofline(results: Results) -> str:
    gpu = gpu_named(results.identity["gpu"])
    if gpu is None:
        text = "Roofline: not computed; `benchmarks/gpu/shapes.py` does not know this GPU's peak and bandwidth."
    else:
        peak, bandwidth = gpu.flop_per_second / 1e12, gpu.bytes_per_second / 1e12
        text = f"Roofline: {peak:g} TFLOP/s and {bandwidth:g} TB/s ({gpu.source})."
    ceilings = results.result("ceilings")
    if ceilings is None:
        return text
    peak, bandwidth = ceilings["tflop_per_second"], ceilings["tb_per_second"]
    return (
        f"{text} In this run a half matrix product reached {peak:.0f} TFLOP/s and a copy {bandwidth:.2f} TB/s."
    )


def _other_checks(results: Results) -> list[str]:
    streams = results.rows("two streams")
    runs, different = (sum(row[key] for row in streams) for key in ("runs", "different"))
    opinion = results.result("second opinion") or {"rows": [], "unavailable": "the step is not done"}
    found = [row["difference"] for row in opinion["rows"] if row["difference"] is not None]
    said = (
        f"at most {max(found):.1e} of the largest value"
        if found
        else f"not measured ({opinion.get('unavailable')})"
    )
    return [
        (
            "Every launch ran twice into outputs filled with NaN between guards;"
            " the two results must agree to the bit."
        ),
        (
            "Two streams at once: "
            f"{f'{different} of {runs} results differ from those alone' if runs else 'not measured'}."
        ),
        f"The float64 reference against torchvision's float64: {said}.",
    ]


def _correctness_table(results: Results) -> list[str]:
    rows = []
    for step, checked in _checked_steps(results):
        for form in dict.fromkeys(row["format"] for row in checked):
            of_form = [row for row in checked if row["format"] == form]
            rows.append((step, form, *_worst(of_form)))
    head = (
        "what",
        "format",
        "launches",
        "worst relative error",
        "limit",
        "in",
        f"at K = {DEEPEST}",
        "failures",
    )
    return table(head, rows)


def _worst(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Launches, the worst error, its limit and place, the worst at the deepest K, failures."""
    found = [
        (error, f"{row['layer']}, N={row['batch']}, {row['reach']} offsets, {tile}", row["k"])
        for row in rows
        for tile, error in row["errors"].items()
        if error is not None
    ]
    worst, place, _ = max(found, default=(None, _NONE, 0))
    deepest = max((error for error, _, k in found if k == DEEPEST), default=None)
    launches, failed = (sum(len(row[key]) for row in rows) for key in ("errors", "failures"))
    return (
        str(launches),
        _cell(worst, ".1e"),
        f"{rows[0]['limit']:.0e}",
        place,
        _cell(deepest, ".1e"),
        str(failed),
    )


def _sums_table(results: Results) -> list[str]:
    rows, notes = [], []
    for depth, size, batch in product(DEPTHS, SIZES, _BATCHES):
        name = sums_name(depth, size, batch)
        result = results.result(name)
        if result is None:
            continue
        times, network = result["times"], layers(depth, size, batch)
        floor, columns = (_floor_us(results, network, each) for each in (floor_us, im2col_floor_us))
        ours = [_median(times, form) for form in OURS]
        cells = [cell for time in ours for cell in (_cell(time), _share(floor, time))]
        baselines = [_cell(_median(times, baseline)) for baseline in _BASELINES.values()]
        rows.append((name.removeprefix("sums "), _cell(floor), *cells, _cell(columns), *baselines))
        notes += [f"{name}: {baseline} not measured ({why})" for baseline, why in result["unavailable"].items()]
        loose = [baseline for baseline, time in times.items() if not time["in_graph"]]
        notes += [f"{name}: {baseline} was launched piece by piece, not in a graph" for baseline in loose]
    head = ("network", "floor", "separate", "share", "raw", "share", "im2col floor", *_BASELINES)
    explained = "Microseconds for one pass; shares are of the floor."
    return [*table(head, rows), "", explained, *([""] if notes else []), *(f"- {note}" for note in notes)]


def _layer_tables(results: Results) -> Iterator[tuple[str, list[str]]]:
    for size, batch in product(SIZES, _BATCHES):
        name = layers_name(size, batch)
        result = results.result(name)
        if result is None:
            continue
        tiles = list(dict.fromkeys(tile for row in result["rows"] for tile in row["times"]))
        floors = {layer.name: _floor_us(results, [layer]) for layer in shapes(50, size, batch)}
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
    cells = [
        f"**{_cell(time)}**" if tile != "auto" and time == best else _cell(time) for tile, time in found.items()
    ]
    loss = f"{chosen / best - 1:+.0%}" if chosen and best else _NONE
    return [_cell(floor), _share(floor, chosen), *cells, loss]


def _floor_us(
    results: Results, network: list[Layer], floor: Callable[[Problem, GpuPeak], float] = floor_us
) -> float | None:
    gpu = gpu_named(results.identity["gpu"])
    return sum(floor(layer.problem, gpu) for layer in network) if gpu else None


def _median(times: dict[str, Any], name: str) -> float | None:
    return float(times[name]["median_us"]) if name in times else None


def _cell(value: float | None, form: str = ".1f") -> str:
    return _NONE if value is None else format(value, form)


def _share(floor: float | None, time: float | None) -> str:
    return f"{floor / time:.0%}" if floor and time else "not computed"
