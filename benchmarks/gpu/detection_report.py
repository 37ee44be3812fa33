"""The results about the detection kernels as Markdown, made from the stored JSON alone."""

from __future__ import annotations

from benchmarks.documents import document, table
from benchmarks.gpu.suite import Results, environment_section

_METHOD = (
    "Method: drawn tensors, the same here and at home by hash. Rows (proposals, detections) are compared as sets with"
    " those of the ONNX functions in ONNX Runtime on a CPU; region features by value, relative to the largest. Every"
    " launch is made twice; the two must agree to the bit. A time is that of a CUDA graph of ten launches, divided by"
    " ten, between two CUDA events, as the median of the runs; the tensors stay in the cache if they fit."
)


def failures(results: Results) -> list[str]:
    """Every failed check, in words."""
    return [
        f"correctness{step}, {row['kernel']} {row['format']}: {failure}"
        for step, found in results.with_prefix("correctness")
        for row in found["rows"]
        for failure in row["failures"]
    ]


def checks(results: Results) -> str:
    """How many launches were compared, in words."""
    made = sum(len(found["rows"]) for _, found in results.with_prefix("correctness"))
    return f"{made} launches compared with the ONNX functions"


def render(results: Results) -> str:
    """The whole document."""
    failed = failures(results)
    quick = "A quick run: few iterations. " if results.identity["quick"] else ""
    head = f"{quick}{checks(results)}, {len(failed)} failures."
    return document(
        f"# Detection kernels on {results.identity['gpu']}",
        [head, *(f"- {each}" for each in failed)],
        _METHOD,
        "## Correctness",
        _correctness(results),
        "## Times",
        _times(results),
        environment_section(results),
    )


def _correctness(results: Results) -> list[str]:
    rows = [
        (
            step,
            row["kernel"],
            row["format"],
            f"{row['matched']} of {row['rows']}",
            f"{row['difference']:.1e}",
            f"{row['limit']:.0e}",
            str(len(row["failures"])),
        )
        for step, found in results.with_prefix("correctness ")
        for row in found["rows"]
    ]
    if not rows:
        return ["not measured"]
    note = "The largest difference of what agrees: in pixels; of features, relative to the largest."
    return [*table(("model", "kernel", "format", "rows", "difference", "limit", "failures"), rows), "", note]


def _times(results: Results) -> list[str]:
    rows = []
    for step, found in results.with_prefix("times "):
        for name, timing in found["times"].items():
            cells = [f"{timing[key]:.1f}" for key in ("median_us", "p10_us", "p90_us")]
            rows.append((step, name, *cells, _nodes(timing["nodes"], timing["sets"])))
    if not rows:
        return ["not measured"]
    head = ("model", "kernel", "median", "10 %", "90 %", "nodes of one launch")
    return [*table(head, rows), "", "Microseconds of one launch for the whole batch."]


def _nodes(nodes: dict[str, int] | None, launches: int) -> str:
    if nodes is None:
        return "not known"
    return ", ".join(f"{count / launches:g} {kind}" for kind, count in sorted(nodes.items()))
