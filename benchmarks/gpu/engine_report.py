"""The results about one model's engines as Markdown, made from the stored JSON alone."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.documents import document, table
from benchmarks.gpu.engine_goals import goals
from benchmarks.gpu.layer_kinds import KINDS
from benchmarks.gpu.suite import Results, environment_section, goal_table

#: A float32 engine must find what ONNX Runtime finds; half precision reorders detections of nearly equal scores.
FLOAT32_SHARE = 0.99
_METHOD = (
    "Method: with copies is a call as users make it, from arrays of the host to arrays of the host, by the host's"
    " clock; without copies is one run between two CUDA events with all tensors on the GPU. Shares are of the sum of"
    " the layers' times by TensorRT's profiler, without a graph. no_dcn is the same detector with plain convolutions in"
    " place of deformable ones. An agreement says how many of the reference's detections above the score the engine"
    " has: same label, boxes that overlap so far, each picture alone; the reference ran on a CPU, in float32."
)


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
                f"{step}, {figures['matched']} of {figures['detections']} detections of ONNX Runtime found, the least"
                f" are {FLOAT32_SHARE:.0%}; the worst picture is number {figures['worst']}"
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
        memory: dict[str, int] = next((found["memory"] for _, found in results.with_prefix(f"latency {step} ")), {})
        layers = ", ".join(f"{count} {kind}" for kind, count in result["precisions"]["layers"].items())
        share = result["precisions"]["share"]
        sizes = [_mib(result["bytes"]), _mib(memory.get("scratch")), _mib(memory.get("device"))]
        rows.append((step, f"{result['seconds']:.0f} s", *sizes, layers, "-" if share is None else f"{share:.1%}"))
    if not rows:
        return ["not measured"]
    head = (
        "engine",
        "build",
        "plan",
        "scratch",
        "GPU memory at the first batch",
        "layers",
        "convolution FLOPs in fp16",
    )
    return table(head, rows)


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
    if not rows:
        return ["not measured"]
    first = next(found for _, found in results.with_prefix("agreement "))["against"]
    limits = next(iter(first.values()))
    note = f"Detections above {limits['above']}, IoU at least {limits['at_iou']}; score and IoU are the pairs' worst."
    return [*table(("engine", "against", "pictures", "matched", "extra", "score", "IoU"), rows), "", note]


def _latency(results: Results) -> list[str]:
    rows = []
    for step, found in results.with_prefix("latency "):
        for row in found["rows"]:
            graph = "not taken" if row["graph"] and row.get("fallback") else _yes(row["graph"])
            times = [f"{row[name] / 1e3:.3f}" for name in ("median_us", "p95_us", "p99_us")]
            each = f"{row['median_us'] / 1e3 / found['batch']:.3f}"
            rows.append((step, _yes(row["copies"]), graph, *times, each, str(row["runs"])))
    if not rows:
        return ["not measured"]
    head = ("engine", "copies", "CUDA graph", "median", "p95", "p99", "median per image", "runs")
    lacking = [(step, why) for step, found in results.with_prefix("latency ") for why in found["unavailable"]]
    return [*table(head, rows), "", "Milliseconds.", *(f"- {step}, without copies: {why}" for step, why in lacking)]


def _shares(results: Results) -> list[str]:
    found = list(results.with_prefix("layers "))
    if not found:
        return ["not measured"]
    kinds = [kind for kind in KINDS if any(kind in result["shares"] for _, result in found)]
    rows = [
        (step, str(result["layers"]), f"{result['total_us'] / 1e3:.3f} ms", *_percent(result["shares"], kinds))
        for step, result in found
    ]
    lines = table(("engine", "layers", "sum", *kinds), rows)
    slowest = [(each["name"], f"{each['us']:.1f}") for each in found[0][1]["slowest"]]
    return [*lines, "", f"The slowest of {found[0][0]}, microseconds:", "", *table(("layer", "us"), slowest)]


def _percent(shares: dict[str, float], kinds: list[str]) -> Iterator[str]:
    return (f"{shares[kind]:.1%}" if kind in shares else "-" for kind in kinds)


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f} MiB"
