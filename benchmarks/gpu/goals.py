"""The goals about kernels and engines, judged from stored results; those about times are for an H200."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Literal

from benchmarks.documents import table
from benchmarks.gpu.steps import NO_DCN, sums_name
from pssdet.validation.gpu_check.launches import OURS
from pssdet.validation.gpu_check.runner import Results
from pssdet.validation.gpu_check.shapes import SIZES

GPU = "H200"
COUNT = 13  # DCN layers of ResNet50
_MATCHED, _DETECTION_SHARE, _DCN = 0.99, 0.15, 1.10
DETECTION = ("proposals", "RoIAlign", "NMS", "decoding")  # what the goal about detection plugins counts
_PEERS = {"torchvision": "torchvision's deform_conv2d", "tensorrt": "TensorRT's ModulatedDeformConv2d"}

Verdict = Literal["met", "missed", "not measured", "not judged"]


@dataclass(frozen=True)
class Goal:
    """A goal, what was measured in words, and the verdict."""

    text: str
    measured: str
    verdict: Verdict


def goals(results: Results | None, ap: Mapping[str, Any] | None = None) -> list[Goal]:
    """All goals in their order; ``ap``: the FP16 engine's comparison with Paddle that ``collect.py`` makes."""
    found = _Found(results)
    return [
        *(_total(found, batch, limit) for batch, limit in ((8, 415), (1, 120))),
        *(_faster(found, *each) for each in (("torchvision", 1, 3), ("torchvision", 8, 4))),
        *(_faster(found, *each) for each in (("tensorrt", 1, 2), ("tensorrt", 8, 3))),
        *(_near_convolution(found, batch) for batch in (1, 8)),
        *(_latency(found, batch, limit) for batch, limit in ((1, 1200), (8, 350))),
        *(_detection(found, batch) for batch in (1, 8)),
        *(_deforming(found, batch) for batch in (1, 8)),
        _matching(found),
        _ap(ap),
    ]


def goal_table(goals: Iterable[Goal]) -> list[str]:
    """Goals as a table."""
    return table(("goal", "measured", "verdict"), [(goal.text, goal.measured, goal.verdict) for goal in goals])


class _Found:
    """Figures of stored results; NaN stands for what was not measured."""

    def __init__(self, results: Results | None) -> None:
        self._outcomes = results.outcomes if results else {}
        self.judged = GPU in str(self.figures("driver").get("identity", {}).get("GPU"))

    def figures(self, step: str) -> Mapping[str, Any]:
        return self._outcomes[step].figures if step in self._outcomes else {}

    def sum_us(self, batch: int, names: Sequence[str] = OURS) -> float:
        """The time of ResNet50's layers at the main size by the slowest of these."""
        times = self.figures(sums_name(50, SIZES[0], batch)).get("median_us", {})
        found = [float(times[name]) for name in names if name in times]
        return max(found) if len(found) == len(names) else nan

    def latency_us(self, precision: str, batch: int) -> float:
        """Row 4, without copies, in a CUDA graph."""
        return float(self.figures(f"row4-{precision}-times").get(f"N={batch}", {}).get("median_us", nan))

    def speed(self, text: str, value: float, words: str, *, is_met: bool) -> Goal:
        if isnan(value):
            return Goal(text, "-", "not measured")
        if not self.judged:
            return Goal(text, words, "not judged")
        return Goal(text, words, "met" if is_met else "missed")


def _total(found: _Found, batch: int, limit: float) -> Goal:
    text = f"the {COUNT} DCN layers of ResNet50 at 640x640, N={batch}, in one CUDA graph: at most {limit:g} us"
    time = found.sum_us(batch)
    return found.speed(text, time, f"{time:.0f} us", is_met=time <= limit)


def _faster(found: _Found, peer: str, batch: int, least: float) -> Goal:
    text = f"at least {least:g} times as fast as {_PEERS[peer]}, half precision, N={batch}"
    ratio = found.sum_us(batch, [peer]) / found.sum_us(batch)
    return found.speed(text, ratio, f"{ratio:.1f} times", is_met=ratio >= least)


def _near_convolution(found: _Found, batch: int) -> Goal:
    text = f"at most 1.5 times as long as the same plain convolutions by cuDNN, N={batch}"
    ratio = found.sum_us(batch) / found.sum_us(batch, ["convolution"])
    return found.speed(text, ratio, f"{ratio:.2f} times", is_met=ratio <= 1.5)


def _latency(found: _Found, batch: int, limit: float) -> Goal:
    most = f"at most {limit / 1e3:g} ms per image"
    text = f"Faster R50 at 640x640, half precision, N={batch}, in one CUDA graph: {most}"
    time = found.latency_us("fp16", batch) / batch
    return found.speed(text, time, f"{time / 1e3:.3f} ms", is_met=time <= limit)


def _detection(found: _Found, batch: int) -> Goal:
    text = (
        f"proposals, RoIAlign, NMS and decoding at most {_DETECTION_SHARE:.0%} of the engine's time, N={batch}"
    )
    shares = found.figures("row4-fp16-times").get(f"N={batch}, shares", {"": nan})
    share = sum(value for kind, value in shares.items() if kind in ("", *DETECTION))
    return found.speed(text, share, f"{share:.1%}", is_met=share <= _DETECTION_SHARE)


def _deforming(found: _Found, batch: int) -> Goal:
    text = f"at most {_DCN - 1:.0%} longer than with plain convolutions instead of deformable ones, N={batch}"
    ratio = found.latency_us("fp16", batch) / found.latency_us(NO_DCN, batch)
    return found.speed(text, ratio, f"{ratio - 1:+.1%}", is_met=ratio <= _DCN)


def _matching(found: _Found) -> Goal:
    text = (
        "of Paddle's detections above score 0.3 in the small detector's scenes,"
        f" the FP16 engine has at least {_MATCHED:.0%} at IoU 0.9"
    )
    figures = found.figures("scenes").get("paddle")
    if not figures or not figures["detections"]:
        return Goal(text, "-", "not measured")
    measured = f"{figures['share']:.2%} of {figures['detections']}"
    return Goal(text, measured, "met" if figures["share"] >= _MATCHED else "missed")


def _ap(found: Mapping[str, Any] | None) -> Goal:
    text = "the FP16 engine's AP on them against Paddle's: PASS at the 99.9 % margin"
    if not found:
        return Goal(text, "-", "not measured")
    return Goal(
        text, f"{found['verdict']}: {found['reason']}", "met" if found["verdict"] == "PASS" else "missed"
    )
