"""What the report says in words and rows, wherever it is shown."""

from __future__ import annotations

from typing import NamedTuple

from pssdet.validation.report_numbers import NOT_AVAILABLE, difference, interval, margin, percent, points, small
from pssdet.validation.report_schema import Comparison, EngineResult, Report, Verdict

NOT_MEASURED = "not measured"
EMULATED = "not a speed of this precision"
PUBLISHED_NOTE = (
    "Quoted from PaddleDetection: COCO val2017; FP32 tools/eval.py end to end at batch 1, data loading and "
    "post-processing included. Speeds on different hardware do not compare."
)

_WORST_FIRST: tuple[Verdict, ...] = ("FAIL", "INCONCLUSIVE", "PASS")


class ParityRow(NamedTuple):
    """A comparison's numbers as text."""

    comparison: Comparison
    ap_reference: str
    ap_candidate: str
    delta: str
    ci90: str
    ci95: str
    margin: str
    matched: str
    drift: str


def parity_rows(report: Report) -> list[ParityRow]:
    """The comparisons' numbers as text; without both engines' AP there is no difference to show."""
    ap = {engine.name: engine.stats.get("AP") for engine in report.engines if not engine.failure}
    rows = []
    for pair in report.comparisons:
        known = ap.get(pair.candidate) is not None and ap.get(pair.reference) is not None
        agreement = pair.agreement
        rows.append(
            ParityRow(
                pair,
                points(ap.get(pair.reference)),
                points(ap.get(pair.candidate)),
                difference(pair.delta_ap) if known else NOT_AVAILABLE,
                interval(pair.ci90) if known else NOT_AVAILABLE,
                interval(pair.ci95) if known else NOT_AVAILABLE,
                margin(pair.margin),
                percent(agreement.matched_share) if agreement else NOT_AVAILABLE,
                small(agreement.score_drift.get("p99")) if agreement else NOT_AVAILABLE,
            )
        )
    return rows


def overall_verdict(report: Report) -> Verdict | None:
    """The worst verdict; an engine without a result is a FAIL. None if nothing was compared."""
    verdicts = {comparison.verdict for comparison in report.comparisons}
    if any(engine.failure for engine in report.engines):
        verdicts.add("FAIL")
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None)


def summary(report: Report) -> str:
    """How many comparisons came to which verdict, in words."""
    verdicts = [comparison.verdict for comparison in report.comparisons]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in _WORST_FIRST if each in verdicts)
    text = f"{_counted(len(verdicts), 'comparison')}: {counts}" if verdicts else "Nothing was compared"
    failures = sum(1 for engine in report.engines if engine.failure)
    return f"{text}; {_counted(failures, 'engine')} without a result" if failures else text


def untold_failures(report: Report) -> list[EngineResult]:
    """The failed engines whose failure no comparison of theirs gives as its reason."""
    told = [(pair.candidate, pair.reason) for pair in report.comparisons]
    told += [(pair.reference, pair.reason) for pair in report.comparisons]
    return [
        engine
        for engine in report.engines
        if engine.failure and not any(name == engine.name and engine.failure in reason for name, reason in told)
    ]


def bootstraps(report: Report) -> str:
    """How the intervals were drawn."""
    kinds = dict.fromkeys(f"{pair.replicas:,} replicas, seed {pair.seed}" for pair in report.comparisons)
    return "; ".join(kinds)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def reason(comparison: Comparison) -> str:
    """Why the verdict is what it is and, if it is open and the reason does not say so, how many images would decide."""
    images = f"{comparison.images_to_decide:,}"
    told = comparison.verdict != "INCONCLUSIVE" or comparison.images_to_decide <= 0 or images in comparison.reason
    return comparison.reason if told else f"{comparison.reason.rstrip('.')}; about {images} images would decide"


def stat_names(report: Report) -> list[str]:
    """The names of all engines' statistics, in the order in which they first appear."""
    return list(dict.fromkeys(name for engine in report.engines for name in engine.stats))


def identity_rows(report: Report) -> list[tuple[str, str]]:
    """What the report is about, as names and values; an empty value was not known."""
    this = report.identity
    return [
        ("model", this.model),
        ("images", f"{this.images:,}"),
        ("created", this.created),
        ("commit", this.commit),
        ("command", this.command),
        ("machine", this.machine),
        ("weights sha256", this.weights_sha256),
        ("onnx sha256", this.onnx_sha256),
        ("annotations sha256", this.annotations_sha256),
        ("images sha256", this.images_sha256),
        *this.versions.items(),
    ]
