"""The report as people read it: its conclusions in words, and how its numbers are written.

``view_of`` makes a ``ReportView``, whose fields are the sections; the two templates and the
terminal's table lay them out. A new section is a field here and a block in each of the templates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeGuard

from markupsafe import Markup

from pssdet.validation.parity_report import svg
from pssdet.validation.parity_report.schema import Comparison, EngineResult, Report, Speed, Verdict

NOT_MEASURED = "not measured"
EMULATED = "not a speed of this precision"

#: How many margins the interval plots reach either way, at least and at most.
_REACH = (2.0, 5.0)

_WORST_FIRST: tuple[Verdict, ...] = ("FAIL", "INCONCLUSIVE", "PASS")

#: What COCO's statistics are about.
STATISTICS = {
    "AP": "IoU 0.50 to 0.95",
    "AP50": "IoU 0.50",
    "AP75": "IoU 0.75",
    "APs": "small, under 32² px",
    "APm": "medium",
    "APl": "large, over 96² px",
    "AR1": "recall, 1 per image",
    "AR10": "recall, 10 per image",
    "AR100": "recall, 100 per image",
    "ARs": "recall, small",
    "ARm": "recall, medium",
    "ARl": "recall, large",
}

NOT_AVAILABLE = "n/a"


class EngineView(NamedTuple):
    """An engine; ``no_speed`` says why no speed counts, ``remark`` stands beside it in the verdict."""

    result: EngineResult
    label: str
    speed: Speed | None
    no_speed: str
    remark: str


class ComparisonView(NamedTuple):
    """A comparison, ``label`` with the model if there are several; without both APs there is no plot."""

    pair: Comparison
    label: str
    reason: str
    ap_reference: str
    ap_candidate: str
    delta: str
    ci90: str
    ci95: str
    interval_plot: Markup


class ModelView(NamedTuple):
    """The sections' parts that belong to one model; ``statistics`` names those that it has."""

    model: str
    engines: tuple[EngineView, ...]
    comparisons: tuple[ComparisonView, ...]
    statistics: tuple[str, ...]


class ReportView(NamedTuple):
    """Everything that the report shows, section by section.

    Attributes:
        comparisons: in the order of the report; ``models`` has them, and all engines, by model.
        bootstrap: how the intervals were drawn; empty without comparisons.
        identity: what the report is about, as names and values; an empty value was not known.
        report: what is shown as it is: warnings, published figures.
    """

    title: str
    several: bool
    overall: Verdict | None
    summary: str
    fail_reasons: tuple[str, ...]
    comparisons: tuple[ComparisonView, ...]
    uncompared: tuple[EngineView, ...]
    failures: tuple[EngineView, ...]
    models: tuple[ModelView, ...]
    bootstrap: str
    identity: tuple[tuple[str, str], ...]
    report: Report


def view_of(report: Report) -> ReportView:
    """What the report shows."""
    names = [each.model for each in report.identity.models]
    comparisons = _comparisons(report)
    return ReportView(
        title=", ".join(names),
        several=several(report),
        overall=overall_verdict(report),
        summary=summary(report),
        fail_reasons=fail_reasons(report),
        comparisons=comparisons,
        uncompared=tuple(_engine(report, each, ap_alone(report, each)) for each in uncompared(report)),
        failures=tuple(_engine(report, each, each.failure) for each in unreported_failures(report)),
        models=tuple(_model(report, name, comparisons) for name in names),
        bootstrap=_bootstrap(report),
        identity=_identity(report),
        report=report,
    )


def _model(report: Report, model: str, comparisons: Sequence[ComparisonView]) -> ModelView:
    engines = [each for each in report.engines if each.model == model]
    return ModelView(
        model=model,
        engines=tuple(_engine(report, each) for each in engines),
        comparisons=tuple(each for each in comparisons if each.pair.model == model),
        statistics=tuple(dict.fromkeys(name for engine in engines for name in engine.stats)),
    )


def _engine(report: Report, engine: EngineResult, remark: str = "") -> EngineView:
    why = "failed" if engine.failure else EMULATED if engine.emulated else NOT_MEASURED
    speed = None if engine.failure or engine.emulated else engine.speed
    return EngineView(engine, label_of(report, engine.model, engine.name), speed, why, remark)


def _comparisons(report: Report) -> tuple[ComparisonView, ...]:
    """The comparisons; all plots have the same scale in margins."""
    aps = {(each.model, each.name): each.stats.get("AP") for each in report.engines if not each.failure}
    reach = _reach(report.comparisons)
    return tuple(
        _comparison(pair, label_of(report, pair.model, pair.candidate), aps, reach)
        for pair in report.comparisons
    )


def _comparison(
    pair: Comparison, label: str, aps: Mapping[tuple[str, str], float | None], reach: float
) -> ComparisonView:
    reference, candidate = (aps.get((pair.model, name)) for name in (pair.reference, pair.candidate))
    known = reference is not None and candidate is not None
    delta = difference(pair.delta_ap) if known else NOT_AVAILABLE
    ci90, ci95 = (interval(each) if known else NOT_AVAILABLE for each in (pair.ci90, pair.ci95))
    words = (
        f"{label}: difference {delta}, 90 % interval {ci90}, 95 % interval {ci95}, margin {margin(pair.margin)}"
    )
    plot = Markup()
    if delta != NOT_AVAILABLE:
        plot = svg.interval_plot(pair.delta_ap, pair.ci90, pair.ci95, pair.margin, reach=reach, label=words)
    return ComparisonView(
        pair, label, reason(pair), points(reference), points(candidate), delta, ci90, ci95, plot
    )


def _reach(comparisons: Sequence[Comparison]) -> float:
    """Enough margins for every comparison that fits at all; one far off must not make others small."""
    least, most = _REACH
    sizes = [abs(value) / pair.margin for pair in comparisons if pair.margin > 0 for value in pair.ci95]
    return max([1.15 * size for size in sizes if 1.15 * size <= most] + [least])


def _bootstrap(report: Report) -> str:
    kinds = dict.fromkeys(f"{pair.replicas:,} replicas, seed {pair.seed}" for pair in report.comparisons)
    return "; ".join(kinds)


def _identity(report: Report) -> tuple[tuple[str, str], ...]:
    this = report.identity
    hashes = []
    for each in this.models:
        whose = f"{each.model} " if several(report) else ""
        hashes += [(f"{whose}weights sha256", each.weights_sha256), (f"{whose}onnx sha256", each.onnx_sha256)]
    return (
        ("models" if several(report) else "model", ", ".join(each.model for each in this.models)),
        ("images", f"{this.images:,}"),
        ("created", this.created),
        ("commit", this.commit),
        ("command", this.command),
        ("machine", this.machine),
        *hashes,
        ("annotations sha256", this.annotations_sha256),
        ("images sha256", this.images_sha256),
        *this.versions.items(),
    )


def several(report: Report) -> bool:
    """Whether there are several models, so that an engine's name alone does not identify it."""
    return len(report.identity.models) > 1


def label_of(report: Report, model: str, engine: str) -> str:
    """An engine's name, and its model's too if there are several."""
    return f"{model}/{engine}" if several(report) else engine


def overall_verdict(report: Report) -> Verdict | None:
    """The worst verdict; an engine without a result is a FAIL. None if nothing was compared."""
    verdicts = {comparison.verdict for comparison in report.comparisons}
    if any(engine.failure for engine in report.engines):
        verdicts.add("FAIL")
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None)


def summary(report: Report) -> str:
    """How many comparisons have which verdict, by model if there are several."""
    counts = _verdict_counts(report.comparisons)
    text = f"{_counted(len(report.comparisons), 'comparison')}: {counts}" if counts else "Nothing was compared"
    if counts and several(report):
        parts = []
        for each in report.identity.models:
            part = _verdict_counts([pair for pair in report.comparisons if pair.model == each.model])
            parts.append(f"{each.model}: {part}" if part else f"{each.model} was not compared")
        text += f" ({'; '.join(parts)})"
    failed = sum(1 for engine in report.engines if engine.failure)
    return f"{text}; {_counted(failed, 'engine')} without a result" if failed else text


def _verdict_counts(comparisons: Sequence[Comparison]) -> str:
    verdicts = [comparison.verdict for comparison in comparisons]
    return ", ".join(f"{verdicts.count(each)} {each}" for each in _WORST_FIRST if each in verdicts)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def fail_reasons(report: Report) -> tuple[str, ...]:
    """Everything that makes the verdict a FAIL: which engine, and why."""
    pairs = [(pair.model, pair.candidate, pair.reason) for pair in report.comparisons if pair.verdict == "FAIL"]
    pairs += [(each.model, each.name, each.failure) for each in unreported_failures(report)]
    return tuple(f"{label_of(report, model, name)}: {why}" for model, name, why in pairs)


def uncompared(report: Report) -> list[EngineResult]:
    """The engines with a result that no comparison is about: each the only engine of its model."""
    compared = {(pair.model, name) for pair in report.comparisons for name in (pair.candidate, pair.reference)}
    return [each for each in report.engines if not each.failure and (each.model, each.name) not in compared]


def unreported_failures(report: Report) -> list[EngineResult]:
    """The failed engines whose failure no comparison of theirs gives as its reason."""
    reported = [
        ((pair.model, name), pair.reason)
        for pair in report.comparisons
        for name in (pair.candidate, pair.reference)
    ]
    return [
        each
        for each in report.engines
        if each.failure
        and not any(who == (each.model, each.name) and each.failure in why for who, why in reported)
    ]


def ap_alone(report: Report, engine: EngineResult) -> str:
    """What is known of an engine that was not compared."""
    return f"AP {points(engine.stats.get('AP'))} on {report.identity.images:,} images, compared with nothing"


def reason(comparison: Comparison) -> str:
    """The reason, and how many images would decide an open comparison if it does not say so."""
    images = f"{comparison.images_to_decide:,}"
    complete = (
        comparison.verdict != "INCONCLUSIVE" or comparison.images_to_decide <= 0 or images in comparison.reason
    )
    return (
        comparison.reason
        if complete
        else f"{comparison.reason.rstrip('.')}; about {images} images would decide"
    )


def points(value: float | None) -> str:
    """An AP or AR in percent, as in COCO's tables; COCO's -1 means that there is none."""
    return f"{100 * value:.3f}" if _known(value) and value >= 0 else NOT_AVAILABLE


def difference(value: float | None) -> str:
    """A difference of APs in percent."""
    return signed(100 * value, 3) if _known(value) else NOT_AVAILABLE


def signed(value: float | None, digits: int = 5) -> str:
    """A number with its sign; one that rounds to zero has none."""
    if not _known(value):
        return NOT_AVAILABLE
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def interval(bounds: Sequence[float]) -> str:
    """Two differences of APs in brackets."""
    return f"[{', '.join(map(difference, bounds))}]" if all(map(math.isfinite, bounds)) else NOT_AVAILABLE


def margin(value: float) -> str:
    """A margin of AP, which holds in both directions."""
    return f"±{100 * value:.3f}" if math.isfinite(value) else NOT_AVAILABLE


def percent(value: float | None) -> str:
    """A share, rounded down: 100 % means all."""
    return f"{math.floor(value * 1e4 + 1e-6) / 100:.2f} %" if _known(value) and value >= 0 else NOT_AVAILABLE


def ap_percent(value: float) -> str:
    """An AP the way it is published."""
    return f"{100 * value:.1f} %" if math.isfinite(value) and value >= 0 else NOT_AVAILABLE


def small(value: float | None) -> str:
    """A number whose magnitude matters more than its digits."""
    return f"{value:.2g}" if _known(value) else NOT_AVAILABLE


def rate(value: float | None) -> str:
    """Images per second, or milliseconds."""
    return f"{value:,.{1 if value >= 10 else 2}f}" if _known(value) and value >= 0 else NOT_AVAILABLE


def grouped(value: int) -> str:
    """A count, its thousands set apart."""
    return f"{value:,}"


def percentiles(values: Mapping[str, float]) -> list[str]:
    """The 50th and 99th percentile and the largest of magnitudes."""
    return [small(values.get(name)) for name in ("p50", "p99", "max")]


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
