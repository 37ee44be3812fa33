"""The goals of the DCNv2 kernel, and whether the stored results meet them."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.correctness import RAW, SEPARATE
from benchmarks.gpu.dcnv2_steps import MAIN, sums_name
from benchmarks.gpu.results import Results
from benchmarks.gpu.roofline import gpu_named, sum_floor_us
from benchmarks.gpu.shapes import layers
from benchmarks.gpu.suite import Goal

#: The goals about times are for this GPU.
GPU = "H200"
DEEPEST = 4608
COUNT = 13


def goals(results: Results) -> list[Goal]:
    """All goals in their order."""
    judged = GPU in results.identity["gpu"]
    return [
        _total(results, judged=judged, batch=8, limit=415),
        _total(results, judged=judged, batch=1, limit=120),
        *(
            _faster(results, baseline, judged=judged, batch=batch, least=least)
            for baseline, batch, least in (
                ("torchvision", 1, 3),
                ("torchvision", 8, 4),
                ("tensorrt", 1, 2),
                ("tensorrt", 8, 3),
            )
        ),
        *(_near_convolution(results, judged=judged, batch=batch) for batch in (1, 8)),
        _only_kernels(results),
        _exact(results),
        _batch(results, judged=judged),
    ]


def sum_us(results: Results, batch: int, name: str = "") -> float | None:
    """The time of ResNet50's layers at the main size; of the slower of our two formats if no baseline is named."""
    result = results.result(sums_name(50, MAIN, batch))
    names = [name] if name else [SEPARATE, RAW]
    if result is None or any(name not in result["times"] for name in names):
        return None
    return max(float(result["times"][name]["median_us"]) for name in names)


def _total(results: Results, *, judged: bool, batch: int, limit: float) -> Goal:
    text = f"the {COUNT} layers of ResNet50 at 640x640, N={batch}, in one CUDA graph: at most {limit:g} us"
    time, gpu = sum_us(results, batch), gpu_named(results.identity["gpu"])
    measured = None if time is None else f"{time:.0f} us"
    if time is not None and gpu is not None:
        measured = f"{measured}, {sum_floor_us(layers(50, MAIN, batch), gpu) / time:.0%} of the roofline"
    return Goal.of(1, text, measured, judged=judged, is_met=time is not None and time <= limit)


def _faster(results: Results, baseline: str, *, judged: bool, batch: int, least: float) -> Goal:
    label = {"torchvision": "torchvision's deform_conv2d", "tensorrt": "TensorRT's ModulatedDeformConv2d"}[baseline]
    ratio = _ratio(sum_us(results, batch, baseline), sum_us(results, batch))
    measured = None if ratio is None else f"{ratio:.1f} times"
    text = f"at least {least:g} times as fast as {label}, half precision, N={batch}"
    return Goal.of(2, text, measured, judged=judged, is_met=ratio is not None and ratio >= least)


def _near_convolution(results: Results, *, judged: bool, batch: int) -> Goal:
    ratio = _ratio(sum_us(results, batch), sum_us(results, batch, "convolution"))
    text = f"at most 1.5 times as long as the same plain convolutions by cuDNN, N={batch}"
    return _at_most(3, text, ratio, 1.5, judged=judged)


def _batch(results: Results, *, judged: bool) -> Goal:
    ratio = _ratio(sum_us(results, 8), sum_us(results, 1))
    return _at_most(4, "N=8 takes at most 8 times as long as N=1", ratio, 8, judged=judged)


def _at_most(number: int, text: str, ratio: float | None, limit: float, *, judged: bool) -> Goal:
    measured = None if ratio is None else f"{ratio:.2f} times"
    return Goal.of(number, text, measured, judged=judged, is_met=ratio is not None and ratio <= limit)


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _only_kernels(results: Results) -> Goal:
    """No workspace, one launch per layer: the graphs hold as many kernels as layers and nothing else."""
    text = "no workspace, one launch per layer for any batch: graphs hold one kernel per layer and no other node"
    counts: list[tuple[dict[str, int] | None, int]] = []
    for batch in (1, 8):
        result: dict[str, Any] = results.result(sums_name(50, MAIN, batch)) or {"times": {}}
        times = [result["times"][name] for name in (SEPARATE, RAW) if name in result["times"]]
        counts += [(time["nodes"], COUNT * time["sets"]) for time in times]
    if not counts or any(nodes is None for nodes, _ in counts):
        return Goal.of(4, text, None, judged=True, is_met=False)
    measured = "; ".join(f"{_words(nodes)} for {wanted} layers" for nodes, wanted in counts)
    is_met = all(nodes == {"kernel": wanted} for nodes, wanted in counts)
    return Goal.of(4, text, measured, judged=True, is_met=is_met)


def _words(nodes: dict[str, int] | None) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted((nodes or {}).items()))


def _exact(results: Results) -> Goal:
    checked = [row for _, found in results.with_prefix("correctness") for row in found["rows"]]
    errors = [error for row in checked if row["k"] == DEEPEST for error in _half_errors(row)]
    text = f"relative error against float64 at K = {DEEPEST} at most 2e-3, half precision"
    missing = any(error is None for error in errors)
    worst = max((error for error in errors if error is not None), default=None)
    measured = None if not errors else f"{'no finite result in some; ' if missing else ''}{worst or 0:.1e} at most"
    is_met = not missing and worst is not None and worst <= 2e-3
    return Goal.of(4, text, measured, judged=True, is_met=is_met)


def _half_errors(row: dict[str, Any]) -> list[float | None]:
    return list(row["errors"].values()) if row["format"].startswith("fp16") else []
