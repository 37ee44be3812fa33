"""The goals about whole engines, and whether the stored results meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.gpu.engine_steps import NO_DCN, latency_name, layers_name
from benchmarks.gpu.layer_kinds import DETECTION
from benchmarks.gpu.matching import IOU, SCORE
from benchmarks.gpu.suite import Goal, Results

#: The goals about times are for this GPU and this case.
GPU, SPEED_CASE, ACCURACY_CASE = "H200", "row4", "mini"
#: Batch and most microseconds per image.
_LIMITS = ((1, 1200.0), (8, 350.0))
_MATCHED, _DETECTION_SHARE, _DCN = 0.99, 0.15, 1.10

#: A comparison in AP as ``collect.py`` stores it, for the precision fp16; None before that.
Verdicts = Mapping[str, Any] | None


def goals(results: Results | None, case: str, verdicts: Verdicts = None) -> list[Goal]:
    """The goals about a case; without results they are not measured."""
    if case == SPEED_CASE:
        batches = [batch for batch, _ in _LIMITS]
        return [
            *(_time(results, batch, limit) for batch, limit in _LIMITS),
            *(_detection(results, batch) for batch in batches),
            *(_deforming(results, batch) for batch in batches),
        ]
    if case == ACCURACY_CASE:
        return [_matching(results), _ap(verdicts)]
    return []


def median_us(results: Results | None, label: str, batch: int, *, copies: bool, graph: bool) -> float | None:
    """The median time of one batch, if it was measured."""
    found = results.result(latency_name(label, batch)) if results else None
    for row in found["rows"] if found else ():
        if (row["copies"], row["graph"]) == (copies, graph):
            return float(row["median_us"])
    return None


def detection_share(results: Results | None, batch: int) -> float | None:
    """The share of proposals, RoIAlign, NMS and decoding in the half-precision engine's time, by the profiler."""
    found = results.result(layers_name(batch)) if results else None
    return sum(found["shares"].get(kind, 0.0) for kind in DETECTION) if found else None


def deforming(results: Results | None, batch: int) -> float | None:
    """The half-precision engine's time as a multiple of that of plain convolutions in place of the deformable ones."""
    ours, theirs = (median_us(results, label, batch, copies=False, graph=True) for label in ("fp16", NO_DCN))
    return ours / theirs if ours and theirs else None


def _time(results: Results | None, batch: int, limit: float) -> Goal:
    time = median_us(results, "fp16", batch, copies=False, graph=True)
    text = f"Faster R50 at 640x640, half precision, N={batch}, in one CUDA graph: at most {limit / 1e3:g} ms per image"
    each = None if time is None else time / batch
    return _judged(results, 1, text, each, lambda value: f"{value / 1e3:.3f} ms", lambda value: value <= limit)


def _detection(results: Results | None, batch: int) -> Goal:
    text = f"proposals, RoIAlign, NMS and decoding at most {_DETECTION_SHARE:.0%} of the engine's time, N={batch}"
    share = detection_share(results, batch)
    return _judged(results, 2, text, share, lambda value: f"{value:.1%}", lambda value: value <= _DETECTION_SHARE)


def _deforming(results: Results | None, batch: int) -> Goal:
    text = f"at most {_DCN - 1:.0%} longer than with plain convolutions instead of deformable ones, N={batch}"
    ratio = deforming(results, batch)
    return _judged(results, 3, text, ratio, lambda value: f"{value - 1:+.1%}", lambda value: value <= _DCN)


def _judged(
    results: Results | None,
    number: int,
    text: str,
    value: float | None,
    words: Callable[[float], str],
    is_met: Callable[[float], bool],
) -> Goal:
    if value is None or results is None:
        return Goal.of(number, text, None, judged=False, is_met=False)
    judged = GPU in results.identity["gpu"] and not results.identity["quick"]
    return Goal.of(number, text, words(value), judged=judged, is_met=is_met(value))


def _matching(results: Results | None) -> Goal:
    text = (
        f"of Paddle's detections above score {SCORE} in the small detector's scenes, the FP16 engine has at least"
        f" {_MATCHED:.0%} at IoU {IOU}"
    )
    found = results.result("agreement fp16") if results else None
    if results is None or found is None or "paddle" not in found["against"]:
        return Goal.of(4, text, None, judged=False, is_met=False)
    figures = found["against"]["paddle"]
    measured = f"{figures['share']:.2%} of {figures['detections']} in {found['pictures']} scenes"
    is_met = figures["detections"] > 0 and figures["share"] >= _MATCHED
    return Goal.of(4, text, measured, judged=not results.identity["quick"], is_met=is_met)


def _ap(verdicts: Verdicts) -> Goal:
    text = "the FP16 engine's AP on them against Paddle's: PASS at the 99.9 % margin"
    if verdicts is None:
        return Goal.of(5, text, None, judged=False, is_met=False)
    measured = f"{verdicts['verdict']}: {verdicts['reason']}"
    return Goal.of(5, text, measured, judged=True, is_met=verdicts["verdict"] == "PASS")
