"""A run as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from benchmarks.cpu_speed.candidates import CANDIDATES, ENGINES
from benchmarks.cpu_speed.profile import KINDS
from benchmarks.cpu_speed.results import RATIOS, Batch, Judged, Ratio, Result, judge, ratio_name
from benchmarks.documents import measured_table, table
from benchmarks.shared import QUIET

Block = str | list[str]

_MEANING = (
    "The network alone on all cores, from the prepared picture to the detections, in seconds a picture. Every"
    " candidate has a process of its own; in each round each runs once, in an order that changes from round to"
    " round. `paddle` is Paddle Inference with its own settings, which turn oneDNN on: the trunk, while the"
    " detection part, which Paddle cannot save as a program, runs eagerly. `paddle_eager` is the same detector"
    " run eagerly as a whole, as this project uses it for reference. The plain ones run the export in float32"
    " without this project's conversion: ONNX Runtime as it is, OpenVINO with what its reader needs, the"
    " functions inlined and `DeformConv` as OpenVINO's own operator. `ours` are this project's OpenVINO"
    " engines. `floor` is the trunk and the heads alone, converted as ours in float32, with plain 3x3"
    " convolutions in place of the deformable ones."
)
_RATIOS = (
    "Ratios are medians over the rounds in which both ran, with their quartiles; above 1, the second is faster."
)
_DISTURBED = "Times in brackets are not to be trusted: other programs used the processor meanwhile."
_PROFILE = (
    "Shares of the layers' time at batch 1, from a run of its own, in which OpenVINO takes times and is slower."
    " Others: percent of the largest among the layers that are neither convolution, deformable convolution nor"
    " matrix product."
)
_MEMORY = (
    "The most resident memory of a fresh process that opens an engine with `Detector.load` and detects one"
    " picture of the test size, Python included: with empty caches, so that OpenVINO compiles, and with filled"
    " ones."
)


def page(results: Sequence[Result]) -> list[Block]:
    """The blocks of the page below its first lines."""
    return [*chain.from_iterable((f"## {title}", *blocks) for title, blocks in _sections(results))]


def _sections(results: Sequence[Result]) -> Iterator[tuple[str, list[Block]]]:
    judged = [(result, each) for result in results for each in judge(result)]
    if judged:
        yield (
            "Goals",
            [table(("detector", "figure", "goal", "measured", ""), [_goal(*each) for each in judged])],
        )
    batches = [(result, each) for result in results for each in result.batches]
    columns = ("detector", "size", "batch", *CANDIDATES, "others' cores")
    yield "Times", [_MEANING, table(columns, [_times(*each) for each in batches]), *_notes(results)]
    ratios = ("detector", "batch", *(ratio_name(*each) for each in RATIOS))
    yield "Ratios", [table(ratios, [_ratios(*each) for each in batches]), _RATIOS]
    kinds = ("detector", "engine", *KINDS, "others")
    yield "Time by kind of operator", [measured_table(kinds, [*_profiles(results)]), _PROFILE]
    yield "Peak memory", [table(("detector", *ENGINES), [_memory(result) for result in results]), _MEMORY]


def _goal(result: Result, judged: Judged) -> list[str]:
    goal = judged.goal
    bound = "at least" if goal.at_least else "at most"
    digits = 0 if judged.excess >= 1 else 1
    verdict = "met" if judged.excess <= 0 else f"**missed** by {judged.excess:.{digits}f} %"
    alone = next((batch for batch in result.batches if batch.batch == 1), None)
    spread = alone.ratios.get(goal.figure) if alone else None
    measured = _ratio(spread) if spread else f"{judged.value:.2f}"
    return [result.name, goal.figure, f"{bound} {goal.limit:g} {goal.unit}", f"{measured} {goal.unit}", verdict]


def _times(result: Result, batch: Batch) -> list[str]:
    times = [f"{batch.median_s[name]:.3f}" if name in batch.median_s else "-" for name in CANDIDATES]
    if batch.others > QUIET:
        times = [f"({time})" if time != "-" else time for time in times]
    return [result.name, "x".join(map(str, result.size)), str(batch.batch), *times, f"{batch.others:.2f}"]


def _ratios(result: Result, batch: Batch) -> list[str]:
    cells = [_ratio(batch.ratios.get(ratio_name(*each))) for each in RATIOS]
    return [result.name, str(batch.batch), *cells]


def _ratio(ratio: Ratio | None) -> str:
    return "-" if ratio is None else f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _notes(results: Sequence[Result]) -> Iterator[str]:
    if any(batch.others > QUIET for result in results for batch in result.batches):
        yield _DISTURBED
    for result in results:
        rounds = "; ".join(
            f"{max(batch.rounds.values())} rounds at batch {batch.batch}"
            + "".join(f", {name} {batch.rounds[name]}" for name in batch.rounds if name.startswith("paddle"))
            for batch in result.batches
        )
        missing = "".join(f" `{name}` was not measured: {reason}." for name, reason in result.missing.items())
        accuracy = f" {result.accuracy[0].upper()}{result.accuracy[1:]}." if result.accuracy else ""
        yield f"{result.name}: {rounds}.{accuracy}{missing}"


def _profiles(results: Sequence[Result]) -> Iterator[list[str]]:
    for result in results:
        for name, profile in result.profiles.items():
            others = ", ".join(f"{kind} {100 * share:.1f}" for kind, share in profile.others.items())
            yield [result.name, name, *(f"{100 * profile.shares[kind]:.1f} %" for kind in KINDS), others]


def _memory(result: Result) -> list[str]:
    cells = []
    for name in ENGINES:
        peak = result.peak_bytes.get(name)
        cells.append("-" if peak is None else f"{peak.first / 1e6:,.0f} / {peak.later / 1e6:,.0f} MB")
    return [result.name, *cells]
