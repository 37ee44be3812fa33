"""The goals about whole engines, and one model's results as Markdown, from the stored JSON."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from pathlib import Path
from typing import Any

from benchmarks.documents import document, measured_table, table
from benchmarks.gpu.engine_steps import IOU, KINDS, NO_DCN, SCORE, latency_name, layers_name
from benchmarks.gpu.suite import Goal, Results, environment_section, goal_table

GPU, SPEED_CASE, ACCURACY_CASE = "H200", "row4", "mini"  # the goals about times are for this GPU and case
_LIMITS = ((1, 1200.0), (8, 350.0))  # batch, most microseconds per image
_MATCHED, _DETECTION_SHARE, _DCN = 0.99, 0.15, 1.10
DETECTION = ("proposals", "RoIAlign", "NMS", "decoding")  # what the goal about detection plugins counts

FLOAT32_SHARE = 0.99  # of what ONNX Runtime finds; half precision reorders near ties
_METHOD = (
    "Method: with copies is a call as users make it, from arrays of the host to arrays of the host, by the"
    " host's clock; without copies is one run between two CUDA events with all tensors on the GPU. Shares are"
    " of the sum of the layers' times by TensorRT's profiler, without a graph. no_dcn is the same detector with"
    " plain convolutions in place of deformable ones. An agreement says how many of the reference's detections"
    " above the score the engine has: same label, boxes that overlap so far, each picture alone; the reference"
    " ran on a CPU, in float32."
)


def goals(results: Results | None, case: str, verdicts: Mapping[str, Any] | None = None) -> list[Goal]:
    """A case's goals; ``verdicts``: fp16's comparison in AP, as ``collect.py`` stores it."""
    results = results or Results(Path(), {"gpu": "", "quick": False})
    if case == SPEED_CASE:
        batches = [batch for batch, _ in _LIMITS]
        return [
            *(_time(results, batch, limit) for batch, limit in _LIMITS),
            *(_detection(results, batch) for batch in batches),
            *(_deforming(results, batch) for batch in batches),
        ]
    return [_matching(results), _ap(verdicts)] if case == ACCURACY_CASE else []


def _time(results: Results, batch: int, limit: float) -> Goal:
    text = (
        f"Faster R50 at 640x640, half precision, N={batch}, in one CUDA graph:"
        f" at most {limit / 1e3:g} ms per image"
    )
    time = _median_us(results, "fp16", batch) / batch
    return _speed(results, 1, text, time, limit, f"{time / 1e3:.3f} ms")


def _detection(results: Results, batch: int) -> Goal:
    text = (
        f"proposals, RoIAlign, NMS and decoding at most {_DETECTION_SHARE:.0%} of the engine's time, N={batch}"
    )
    found = results.result(layers_name(batch))
    share = sum(found["shares"].get(kind, 0.0) for kind in DETECTION) if found else nan
    return _speed(results, 2, text, share, _DETECTION_SHARE, f"{share:.1%}")


def _deforming(results: Results, batch: int) -> Goal:
    text = f"at most {_DCN - 1:.0%} longer than with plain convolutions instead of deformable ones, N={batch}"
    ratio = _median_us(results, "fp16", batch) / _median_us(results, NO_DCN, batch)
    return _speed(results, 3, text, ratio, _DCN, f"{ratio - 1:+.1%}")


def _median_us(results: Results, label: str, batch: int) -> float:
    """Without copies, in a CUDA graph; NaN if it was not measured."""
    found = results.result(latency_name(label, batch))
    rows = found["rows"] if found else ()
    return next((float(row["median_us"]) for row in rows if row["graph"] and not row["copies"]), nan)


def _speed(results: Results, number: int, text: str, value: float, limit: float, words: str) -> Goal:
    judged = GPU in results.identity["gpu"] and not results.identity["quick"]
    return Goal.of(number, text, None if isnan(value) else words, judged=judged, is_met=value <= limit)


def _matching(results: Results) -> Goal:
    text = (
        f"of Paddle's detections above score {SCORE} in the small detector's scenes,"
        f" the FP16 engine has at least {_MATCHED:.0%} at IoU {IOU}"
    )
    found = results.result("agreement fp16")
    if found is None or "paddle" not in found["against"]:
        return Goal.of(4, text, None, judged=False, is_met=False)
    figures = found["against"]["paddle"]
    measured = f"{figures['share']:.2%} of {figures['detections']} in {found['pictures']} scenes"
    is_met = figures["detections"] > 0 and figures["share"] >= _MATCHED
    return Goal.of(4, text, measured, judged=not results.identity["quick"], is_met=is_met)


def _ap(verdicts: Mapping[str, Any] | None) -> Goal:
    text = "the FP16 engine's AP on them against Paddle's: PASS at the 99.9 % margin"
    if verdicts is None:
        return Goal.of(5, text, None, judged=False, is_met=False)
    measured = f"{verdicts['verdict']}: {verdicts['reason']}"
    return Goal.of(5, text, measured, judged=True, is_met=verdicts["verdict"] == "PASS")


def failures(results: Results) -> list[str]:
    """Every failed check, in words."""
    found = []
    for label in ("fp16", "fp32"):
        step = f"agreement {label}"
        result = results.result(step)
        if result is None:
            continue
        if not result["finite"]:
            found.append(f"{step}, a detection is not finite")
        figures = result["against"]["onnxruntime"]
        if label == "fp32" and figures["share"] < FLOAT32_SHARE:
            found.append(
                f"{step}, {figures['matched']} of {figures['detections']} detections of ONNX Runtime found,"
                f" the least are {FLOAT32_SHARE:.0%}; the worst picture is number {figures['worst']}"
            )
    return found


def checks(results: Results) -> str:
    """How many pictures were compared, in words."""
    compared = sum(found["pictures"] for _, found in results.with_prefix("agreement"))
    return f"{compared} pictures compared with a CPU's results"


def render(results: Results) -> str:
    """The whole document."""
    identity = results.identity
    quick = "A quick run: few iterations. " if identity["quick"] else ""
    seeded = "Parameters are drawn, so detections mean nothing in a picture. " if identity["seeded"] else ""
    failed, judged = failures(results), goals(results, identity["case"])
    head = f"{quick}{seeded}{checks(results)}, {len(failed)} failures."
    return document(
        f"# {identity['model']} on {identity['gpu']}",
        [head, *(f"- {each}" for each in failed)],
        _METHOD,
        *(("## Goals", goal_table(judged)) if judged else ()),
        "## Engines",
        _engines(results),
        "## Agreement",
        _agreement(results),
        "## Latency",
        _latency(results),
        "## Share of the layers",
        _shares(results),
        environment_section(results),
    )


def _engines(results: Results) -> list[str]:
    rows = []
    for step, result in results.with_prefix("build "):
        timed = results.with_prefix(f"latency {step} ")
        memory: dict[str, int] = next((found["memory"] for _, found in timed), {})
        layers = ", ".join(f"{count} {kind}" for kind, count in result["precisions"]["layers"].items())
        share = result["precisions"]["share"]
        sizes = [_mib(result["bytes"]), _mib(memory.get("scratch")), _mib(memory.get("device"))]
        half = "-" if share is None else f"{share:.1%}"
        rows.append((step, f"{result['seconds']:.0f} s", *sizes, layers, half))
    memory_head = ("plan", "scratch", "GPU memory at the first batch")
    return measured_table(("engine", "build", *memory_head, "layers", "convolution FLOPs in fp16"), rows)


def _agreement(results: Results) -> list[str]:
    rows = [
        (
            step,
            reference,
            str(found["pictures"]),
            f"{figures['matched']} of {figures['detections']} ({figures['share']:.2%})",
            str(figures["extra"]),
            f"{figures['score_difference']:.1e}",
            f"{figures['iou']:.4f}",
        )
        for step, found in results.with_prefix("agreement ")
        for reference, figures in found["against"].items()
    ]
    note = f"Detections above {SCORE}, IoU at least {IOU}; score and IoU are the pairs' worst."
    return measured_table(("engine", "against", "pictures", "matched", "extra", "score", "IoU"), rows, note)


def _latency(results: Results) -> list[str]:
    rows, lacking = [], []
    for step, found in results.with_prefix("latency "):
        lacking += [f"- {step}, without copies: {why}" for why in found["unavailable"]]
        for row in found["rows"]:
            graph = "not taken" if row["graph"] and row.get("fallback") else _yes(row["graph"])
            times = [f"{row[name] / 1e3:.3f}" for name in ("median_us", "p95_us", "p99_us")]
            each = f"{row['median_us'] / 1e3 / found['batch']:.3f}"
            rows.append((step, _yes(row["copies"]), graph, *times, each, str(row["runs"])))
    head = ("engine", "copies", "CUDA graph", "median", "p95", "p99", "median per image", "runs")
    return measured_table(head, rows, "Milliseconds.", *lacking)


def _shares(results: Results) -> list[str]:
    found = list(results.with_prefix("layers "))
    if not found:
        return ["not measured"]
    kinds = [kind for kind in KINDS if any(kind in result["shares"] for _, result in found)]
    rows = []
    for step, result in found:
        shares = [f"{result['shares'][kind]:.1%}" if kind in result["shares"] else "-" for kind in kinds]
        rows.append((step, str(result["layers"]), f"{result['total_us'] / 1e3:.3f} ms", *shares))
    lines = table(("engine", "layers", "sum", *kinds), rows)
    slowest = [(each["name"], f"{each['us']:.1f}") for each in found[0][1]["slowest"]]
    return [*lines, "", f"The slowest of {found[0][0]}, microseconds:", "", *table(("layer", "us"), slowest)]


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f} MiB"
