"""Parity reports for the tests of their rendering."""

from __future__ import annotations

import base64
import math

import cv2
import msgspec
import numpy as np

from pssdet.models.zoo import PUBLISHED
from pssdet.validation.agreement import IOU_EDGES, SCORE_EDGES
from pssdet.validation.parity_report.schema import (
    Agreement,
    Comparison,
    Disagreement,
    EngineResult,
    Histogram,
    Identity,
    ModelIdentity,
    PublishedRow,
    Report,
    Speed,
)

HOSTILE = "<script>alert('x')</script> \"onerror=\" | `a` [b](c) *d* __e__ & \n# f"

_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_VALUES = (0.62134, 0.8417, 0.6873, 0.4121, 0.6542, 0.7719, 0.3318, 0.6645, 0.6701, -1.0, 0.7012, 0.8123)


def engine(name: str, shift: float = 0.0, **changes) -> EngineResult:
    """An engine whose AP is 0.62134 + ``shift``."""
    stats = dict(zip(_NAMES, _VALUES, strict=True)) | {"AP": 0.62134 + shift}
    speed = Speed(23.456, {"p50": 41.91, "p90": 47.24}, "decoding, preprocessing, network", "start-up", 1)
    backend, _, precision = name.partition("-")
    result = EngineResult("mini_faster", name, backend, precision, False, stats, 4321, speed, "")  # noqa: FBT003
    return msgspec.structs.replace(result, **changes)


def broken(name: str, failure: str, **changes) -> EngineResult:
    return engine(name, stats={}, detections=0, speed=None, failure=failure, **changes)


def agreement(spread: float = 0.0004) -> Agreement:
    rng = np.random.default_rng(7)
    scores, edges = np.histogram(rng.normal(0, spread, 4000).clip(-1, 1), SCORE_EDGES)
    overlaps, borders = np.histogram((1 - np.abs(rng.normal(0, 5 * spread, 4000))).clip(0.5, 1), IOU_EDGES)
    return Agreement(
        0.3,
        0.99871,
        5,
        7,
        {"p50": 0.00027, "p99": 0.01132, "max": 0.0871},
        -0.00012,
        {"p50": 0.0008, "p99": 0.0312, "max": 0.4417},
        Histogram(tuple(edges.tolist()), tuple(scores.tolist())),
        Histogram(tuple(borders.tolist()), tuple(overlaps.tolist())),
    )


def picture(seed: int = 3) -> str:
    """Two noisy halves with a box each, as base64 JPEG."""
    rng = np.random.default_rng(seed)
    canvas = cv2.resize(rng.integers(90, 190, (9, 24, 3), np.uint8), (960, 360), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(canvas, (120, 90), (330, 260), (60, 220, 90), 3)
    cv2.rectangle(canvas, (606, 96), (818, 262), (240, 160, 50), 3)
    return base64.b64encode(cv2.imencode(".jpg", canvas)[1].tobytes()).decode()


def comparison(candidate: str = "onnxruntime-fp32", **changes) -> Comparison:
    """One that passes."""
    reason = "The 90 % interval lies within the margin."
    result = Comparison(
        "mini_faster",
        candidate,
        "paddle-fp32",
        0.00012,
        (-0.00018, 0.00041),
        (-0.00024, 0.00047),
        2000,
        7,
        0.00062,
        "PASS",
        0,
        reason,
        "",
        agreement(),
    )
    return msgspec.structs.replace(result, **changes)


def inconclusive() -> Comparison:
    return comparison(
        "onnxruntime-fp16",
        delta_ap=-0.00031,
        ci90=(-0.00098, 0.00037),
        ci95=(-0.00111, 0.00049),
        verdict="INCONCLUSIVE",
        images_to_decide=2600,
        reason="the difference on 300 images is not settled",
        disagreements=(
            Disagreement("scene_0042.jpg", "a kite found by the reference only, score 0.71", picture(1)),
            Disagreement("街景_0007.jpg", "分数相差 0.087; the score of a star differs by 0.087", picture(2)),
        ),
    )


def failing() -> Comparison:
    return comparison(
        "openvino-int8",
        delta_ap=-0.0143,
        ci90=(-0.0171, -0.0118),
        ci95=(-0.0178, -0.0111),
        verdict="FAIL",
        reason="The 95 % interval lies outside of the margin.",
        first_broken_stage="rpn_scores",
        agreement=agreement(0.01),
    )


def unfinished(name: str, reason: str) -> Comparison:
    """With an engine that gave no result."""
    nothing = (math.nan, math.nan)
    return comparison(
        name, delta_ap=math.nan, ci90=nothing, ci95=nothing, verdict="FAIL", reason=reason, agreement=None
    )


def report(
    *comparisons: Comparison, engines: tuple[EngineResult, ...] = (), warnings: tuple[str, ...] = ()
) -> Report:
    """A report with its reference, the published rows and an identity."""
    identity = Identity(
        (ModelIdentity("mini_faster", "a1" * 32, "b2" * 32),),
        "c3" * 32,
        300,
        "d4" * 32,
        "0123abc-dirty",
        "pssdet report --output artifacts/report",
        "x86-64, 2 cores, Linux",
        {"onnxruntime": "1.25.0", "paddlepaddle": "3.2.2"},
        "2026-03-01T12:34:56Z",
    )
    published = tuple(PublishedRow(entry.row, entry.name, figures, None, None) for entry, figures in PUBLISHED)
    return Report(identity, (engine("paddle-fp32"), *engines), comparisons, published, warnings)


def passing_report() -> Report:
    return report(comparison(), engines=(engine("onnxruntime-fp32", 0.00012),))


def inconclusive_report() -> Report:
    half = engine("onnxruntime-fp16", -0.00031, emulated=True)
    unmeasured = engine("onnxruntime-fp32", 0.00012, speed=None)
    return report(
        comparison(), inconclusive(), engines=(unmeasured, half), warnings=("1 corrupt JPEG: scene_0100.jpg",)
    )


def failing_report() -> Report:
    reason = "the process ended with signal 11"
    return report(
        comparison(),
        inconclusive(),
        failing(),
        unfinished("tensorrt-fp16", reason),
        engines=(
            engine("onnxruntime-fp32", 0.00012),
            engine("onnxruntime-fp16", -0.00031, emulated=True),
            engine("openvino-int8", -0.0143),
            broken("tensorrt-fp16", reason),
        ),
        warnings=(
            "1 corrupt JPEG left out: scene_0100.jpg",
            "标注文件中缺少 2 张图片 (2 images of the annotation file are missing)",
        ),
    )


def two_models_report(**changes) -> Report:
    """Engines of the same names of two models; the second model's AP is 20 points lower and its half fails."""
    first = inconclusive_report()
    lower = {"model": "mini_cascade", "stats": {"AP": 0.42134, "AP50": 0.6417}}
    names = ("paddle-fp32", "onnxruntime-fp32", "onnxruntime-fp16")
    second = [engine(name, **lower, emulated=name.endswith("16")) for name in names]
    second[2] = msgspec.structs.replace(second[2], stats={"AP": 0.40704, "AP50": 0.6267})
    pairs = (
        comparison(model="mini_cascade", delta_ap=0.0, ci90=(0.0, 0.0), ci95=(0.0, 0.0), margin=0.00042),
        msgspec.structs.replace(
            failing(),
            model="mini_cascade",
            candidate="onnxruntime-fp16",
            margin=0.00042,
            disagreements=(Disagreement("scene_0099.jpg", "a star found by the candidate only", picture(4)),),
        ),
    )
    models = (*first.identity.models, ModelIdentity("mini_cascade", "e5" * 32, "f6" * 32))
    whole = msgspec.structs.replace(
        first,
        identity=msgspec.structs.replace(first.identity, models=models),
        engines=(*first.engines, *second),
        comparisons=(*first.comparisons, *pairs),
    )
    return msgspec.structs.replace(whole, **changes)


def lonely_report() -> Report:
    """A second model with one engine only."""
    whole = two_models_report()
    kept = (*whole.engines[:3], whole.engines[4])
    pairs = tuple(pair for pair in whole.comparisons if pair.model == "mini_faster")
    return msgspec.structs.replace(whole, engines=kept, comparisons=pairs)


def empty_report() -> Report:
    whole = report()
    return msgspec.structs.replace(whole, engines=(), published=())


def hostile_report() -> Report:
    """Every text that can be chosen from outside is hostile."""
    bad = HOSTILE
    whole = report(
        comparison(
            bad,
            model=bad,
            reference=bad,
            reason=bad,
            first_broken_stage=bad,
            disagreements=(Disagreement(bad, bad, bad),),
        ),
        engines=(
            engine(bad, model=bad, stats={bad: 0.5}),
            engine(bad, model=f"{bad}2"),
            broken(f"{bad}2", bad, model=bad),
        ),
        warnings=(bad,),
    )
    models = (*whole.identity.models, ModelIdentity(bad, "", bad), ModelIdentity(f"{bad}2", bad, ""))
    identity = msgspec.structs.replace(
        whole.identity, models=models, command=bad, machine=bad, versions={bad: bad}
    )
    rows = tuple(msgspec.structs.replace(row, model=bad) for row in whole.published)
    return msgspec.structs.replace(whole, identity=identity, published=rows)
