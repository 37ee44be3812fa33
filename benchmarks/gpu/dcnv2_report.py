"""The results about the DCNv2 kernel: failed checks, and the report, made from the stored JSON alone."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.documents import document
from benchmarks.gpu.dcnv2_goals import goals
from benchmarks.gpu.dcnv2_tables import checked_steps, correctness_table, layer_tables, sums_table
from benchmarks.gpu.report_parts import environment_section, goal_table
from benchmarks.gpu.results import Results
from benchmarks.gpu.roofline import Gpu, gpu_named

_SHOWN = 20
_METHOD = (
    "Method: random tensors, offsets of 1.5 pixels' standard deviation. A CUDA graph holds one pass over each of some"
    " sets of tensors, together at least four times the L2 cache (but 32 sets at most); a time is that of a replay"
    " between two CUDA events, divided by the sets, as the median of the runs. What is compared takes turns. Separate:"
    " float32 offsets and masks of their own; raw: the offset convolution's half NHWC output, the sigmoid done by the"
    " kernel. The floor is the longer of operations at the GPU's peak and bytes at its bandwidth, each tensor moved"
    " once, in half precision."
)


def failures(results: Results) -> list[str]:
    """Every failed check, in words."""
    return [*_failed_launches(results), *_disturbed_streams(results), *_contradictions(results)]


def checks(results: Results) -> str:
    """How many launches were compared with float64, in words."""
    made = sum(len(row["errors"]) for _, rows in checked_steps(results) for row in rows)
    return f"{made:,} launches compared with float64"


def _failed_launches(results: Results) -> Iterator[str]:
    for step, rows in checked_steps(results):
        for row in rows:
            where = f"{step}, {row['layer']}, N={row['batch']}, {row['format']}, {row['reach']} offsets"
            yield from (f"{where}: {failure}" for failure in row["failures"])


def _disturbed_streams(results: Results) -> Iterator[str]:
    for row in (results.result("two streams") or {"rows": []})["rows"]:
        if row["different"]:
            yield f"two streams, {row['layers']}, {row['format']}: {row['different']} of {row['runs']} results differ"


def _contradictions(results: Results) -> Iterator[str]:
    for row in (results.result("second opinion") or {"rows": []})["rows"]:
        difference = row["difference"]
        if difference is None or difference > row["limit"]:
            yield f"second opinion, {row['layer']}: the float64 reference differs from torchvision's by {difference}"


def render(results: Results) -> str:
    """The whole document."""
    gpu = gpu_named(results.identity["gpu"])
    return document(
        f"# DCNv2 on {results.identity['gpu']}",
        _head(results),
        _roofline(results, gpu),
        _METHOD,
        "## Goals",
        goal_table(goals(results)),
        "Speed is judged by the slower of our two formats, and on an H200 only.",
        "## Correctness",
        correctness_table(results),
        _other_checks(results),
        "## Layers in sequence",
        sums_table(results, gpu),
        *(block for title, lines in layer_tables(results, gpu) for block in (f"## {title}", lines)),
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


def _other_checks(results: Results) -> list[str]:
    """Repeatability, two streams, the reference itself."""
    streams = (results.result("two streams") or {"rows": []})["rows"]
    runs, different = (sum(row[key] for row in streams) for key in ("runs", "different"))
    opinion = results.result("second opinion") or {"rows": [], "unavailable": "the step is not done"}
    found = [row["difference"] for row in opinion["rows"] if row["difference"] is not None]
    said = f"at most {max(found):.1e} of the largest value" if found else f"not measured ({opinion.get('unavailable')})"
    return [
        "Every launch ran twice into outputs filled with NaN between guards; the two results must agree to the bit.",
        f"Two streams at once: {f'{different} of {runs} results differ from those alone' if runs else 'not measured'}.",
        f"The float64 reference against torchvision's float64: {said}.",
    ]
