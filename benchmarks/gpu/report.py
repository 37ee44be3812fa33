"""The results as Markdown, made from the stored JSON alone."""

from __future__ import annotations

from benchmarks.gpu import findings
from benchmarks.gpu.goals import goals
from benchmarks.gpu.results import Results
from benchmarks.gpu.roofline import Gpu, gpu_named
from benchmarks.gpu.tables import correctness_table, layer_tables, sums_table, table

_SHOWN = 20
_METHOD = (
    "Method: random tensors, offsets of 1.5 pixels' standard deviation. A CUDA graph holds one pass over each of some"
    " sets of tensors, together at least four times the L2 cache (but 32 sets at most); a time is that of a replay"
    " between two CUDA events, divided by the sets, as the median of the runs. What is compared takes turns. Separate:"
    " float32 offsets and masks of their own; raw: the offset convolution's half NHWC output, the sigmoid done by the"
    " kernel. The floor is the longer of operations at the GPU's peak and bytes at its bandwidth, each tensor moved"
    " once, in half precision."
)


def render(results: Results) -> str:
    """The whole document."""
    gpu = gpu_named(results.identity["gpu"])
    parts = [
        [f"# DCNv2 on {results.identity['gpu']}", "", *_head(results), "", _roofline(results, gpu), "", _METHOD],
        ["## Goals", "", *_goals(results)],
        ["## Correctness", "", *correctness_table(results), "", *_other_checks(results)],
        ["## Layers in sequence", "", *sums_table(results, gpu)],
        *([f"## {title}", "", *lines] for title, lines in layer_tables(results, gpu)),
        ["## Environment", "", *_environment(results)],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(results: Results) -> list[str]:
    kind = "A quick run: few iterations, one size. " if results.identity["quick"] else ""
    failed = findings.failures(results)
    lines = [f"{kind}{findings.checks(results):,} launches compared with float64, {len(failed)} failures."]
    if failed:
        lines += ["", *(f"- {failure}" for failure in failed[:_SHOWN])]
    if len(failed) > _SHOWN:
        lines.append(f"- and {len(failed) - _SHOWN} more, in the JSON file")
    return lines


def _roofline(results: Results, gpu: Gpu | None) -> str:
    if gpu is None:
        text = "Roofline: not computed; `benchmarks/gpu/roofline.py` does not know this GPU's peak and bandwidth."
    else:
        peak, bandwidth = gpu.flop_per_second / 1e12, gpu.bytes_per_second / 1e12
        text = f"Roofline: {peak:g} TFLOP/s and {bandwidth:g} TB/s ({gpu.source})."
    ceilings = results.result("ceilings")
    if ceilings is None:
        return text
    peak, bandwidth = ceilings["tflop_per_second"], ceilings["tb_per_second"]
    return f"{text} In this run a half matrix product reached {peak:.0f} TFLOP/s and a copy {bandwidth:.2f} TB/s."


def _goals(results: Results) -> list[str]:
    rows = [(str(goal.number), goal.text, goal.measured, goal.verdict) for goal in goals(results)]
    note = "Speed is judged by the slower of our two formats, and on an H200 only."
    return [*table(("goal", "what", "measured", "verdict"), rows), "", note]


def _other_checks(results: Results) -> list[str]:
    """Repeatability, two streams, the reference itself."""
    streams = (results.result("two streams") or {"rows": []})["rows"]
    runs, different = (sum(row[key] for row in streams) for key in ("runs", "different"))
    opinion = results.result("second opinion") or {"rows": [], "unavailable": "the stage is not done"}
    found = [row["difference"] for row in opinion["rows"] if row["difference"] is not None]
    said = f"at most {max(found):.1e} of the largest value" if found else f"not measured ({opinion.get('unavailable')})"
    return [
        "Every launch ran twice into outputs filled with NaN between guards; the two results must agree to the bit.",
        f"Two streams at once: {f'{different} of {runs} results differ from those alone' if runs else 'not measured'}.",
        f"The float64 reference against torchvision's float64: {said}.",
    ]


def _environment(results: Results) -> list[str]:
    last = results.runs[-1] if results.runs else {}
    seconds = sum(entry["seconds"] for entry in results.stages.values())
    made = f"{len(results.stages)} stages took {seconds:.0f} s in {len(results.runs)} runs; above is the last."
    return [*table(("what", "value"), last.items()), "", f"{made} Made by `python benchmarks/gpu/dcnv2.py`."]
