"""What the report says in words and rows, wherever it is shown."""

from __future__ import annotations

from typing import NamedTuple

from pssdet.validation.parity_report.models import by_model, label, models, several
from pssdet.validation.parity_report.number_format import (
    NOT_AVAILABLE,
    difference,
    interval,
    margin,
    percent,
    points,
    small,
)
from pssdet.validation.parity_report.schema import Comparison, EngineResult, Report, Verdict

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
    ap = {(each.model, each.name): each.stats.get("AP") for each in report.engines if not each.failure}
    rows = []
    for pair in report.comparisons:
        reference, candidate = (ap.get((pair.model, name)) for name in (pair.reference, pair.candidate))
        known = reference is not None and candidate is not None
        agreement = pair.agreement
        rows.append(
            ParityRow(
                pair,
                points(reference),
                points(candidate),
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
    """How many comparisons came to which verdict, of each model if there are several."""
    counts = _counts(report)
    text = f"{_counted(len(report.comparisons), 'comparison')}: {counts}" if counts else "Nothing was compared"
    if counts and several(report):
        parts = zip(models(report), map(_counts, by_model(report)), strict=True)
        text += f" ({'; '.join(f'{model}: {part}' if part else f'{model} was not compared' for model, part in parts)})"
    failed = sum(1 for engine in report.engines if engine.failure)
    return f"{text}; {_counted(failed, 'engine')} without a result" if failed else text


def _counts(report: Report) -> str:
    verdicts = [comparison.verdict for comparison in report.comparisons]
    return ", ".join(f"{verdicts.count(each)} {each}" for each in _WORST_FIRST if each in verdicts)


def ap_alone(report: Report, engine: EngineResult) -> str:
    """What is known of an engine that was not compared."""
    ap = points(engine.stats.get("AP"))
    return f"AP {ap} on {report.identity.images:,} images, compared with nothing"


def fail_reasons(report: Report) -> list[str]:
    """Everything that makes the verdict a FAIL: which engine, and why."""
    pairs = [(pair.model, pair.candidate, pair.reason) for pair in report.comparisons if pair.verdict == "FAIL"]
    pairs += [(each.model, each.name, each.failure) for each in untold_failures(report)]
    return [f"{label(report, model, name)}: {why}" for model, name, why in pairs]


def untold_failures(report: Report) -> list[EngineResult]:
    """The failed engines whose failure no comparison of theirs gives as its reason."""
    told = [
        ((pair.model, name), pair.reason) for pair in report.comparisons for name in (pair.candidate, pair.reference)
    ]
    return [
        each
        for each in report.engines
        if each.failure and not any(who == (each.model, each.name) and each.failure in why for who, why in told)
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
        ("models" if several(report) else "model", ", ".join(models(report))),
        ("images", f"{this.images:,}"),
        ("created", this.created),
        ("commit", this.commit),
        ("command", this.command),
        ("machine", this.machine),
        *_hash_rows(report),
        ("annotations sha256", this.annotations_sha256),
        ("images sha256", this.images_sha256),
        *this.versions.items(),
    ]


def _hash_rows(report: Report) -> list[tuple[str, str]]:
    rows = []
    for each in report.identity.models:
        whose = f"{each.model} " if several(report) else ""
        rows += [(f"{whose}weights sha256", each.weights_sha256), (f"{whose}onnx sha256", each.onnx_sha256)]
    return rows
