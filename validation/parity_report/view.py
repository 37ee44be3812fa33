"""The report as people read it: every text and every number formatted once, for terminal, Markdown and HTML alike.

``view_of`` turns a ``Report`` into a ``ReportView``, whose fields are the sections and their rows; the two templates
and the terminal's table only lay them out. A new section is a field here and a block in each of the templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from pssdet.validation.parity_report import conclusions, svg
from pssdet.validation.parity_report import number_format as numbers
from pssdet.validation.parity_report.schema import (
    Agreement,
    Comparison,
    Disagreement,
    EngineResult,
    Histogram,
    PublishedRow,
    Report,
    Verdict,
)

NOT_MEASURED = "not measured"
EMULATED = "not a speed of this precision"
PUBLISHED_NOTE = (
    "Quoted from PaddleDetection: COCO val2017; FP32 tools/eval.py end to end at batch 1, data loading and "
    "post-processing included. Speeds on different hardware do not compare."
)

#: How many margins the interval plots reach either way, at least and at most.
_REACH = (2.0, 5.0)

_STATISTICS = {
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


class AgreementView(NamedTuple):
    """How a comparison's detections agree; percentiles are p50, p99 and the maximum, plots are SVG."""

    threshold: str
    matched: str
    unmatched_reference: str
    unmatched_candidate: str
    score_drift: tuple[str, ...]
    score_shift: str
    iou_loss: tuple[str, ...]
    score_plot: Markup
    iou_plot: Markup


class ComparisonView(NamedTuple):
    """A comparison; ``label`` is the candidate's name, with its model where the report has several.

    Without both engines' AP there is no difference to show, and the plot is empty.
    """

    model: str
    label: str
    candidate: str
    reference: str
    verdict: Verdict
    reason: str
    first_broken_stage: str
    ap_reference: str
    ap_candidate: str
    delta: str
    ci90: str
    ci95: str
    margin: str
    interval_plot: Markup
    agreement: AgreementView | None
    worst_images: tuple[Disagreement, ...]


class SpeedView(NamedTuple):
    """An engine's speed, milliseconds and images per second."""

    images_per_second: str
    p50: str
    p90: str
    batch: str
    includes: str
    excludes: str


class EngineView(NamedTuple):
    """An engine; without a speed, ``no_speed`` says why. ``remark`` is what stands beside its name in the verdict."""

    model: str
    label: str
    name: str
    speed: SpeedView | None
    no_speed: str
    remark: str


class StatisticView(NamedTuple):
    """One of COCO's statistics, with a value for each engine of the model."""

    name: str
    meaning: str
    values: tuple[str, ...]


class ModelView(NamedTuple):
    """The parts of the sections that belong to one model; ``detections`` has a count for each engine."""

    model: str
    engines: tuple[EngineView, ...]
    comparisons: tuple[ComparisonView, ...]
    statistics: tuple[StatisticView, ...]
    detections: tuple[str, ...]


class PublishedView(NamedTuple):
    """A published detector and what was measured here, None where nothing was."""

    row: str
    model: str
    box_ap: str
    images_per_second: str
    hardware: str
    year: str
    ap_here: str | None
    images_per_second_here: str | None
    note: str


class ReportView(NamedTuple):
    """Everything that the report shows, section by section.

    Attributes:
        title: the models' names.
        several: whether there are several models.
        images: how many were evaluated.
        machine, created: of the identity.
        overall: the worst verdict; None if nothing was compared.
        summary: how many comparisons have which verdict.
        fail_reasons: everything that makes the verdict a FAIL: which engine, and why.
        comparisons: in the order of the report.
        uncompared: the engines with a result that no comparison is about.
        failures: the failed engines whose failure no comparison gives as its reason.
        models: the same comparisons, and all engines, by model.
        bootstrap: how the intervals were drawn; empty without comparisons.
        published: as in the report; ``published_note`` says where the figures are from.
        warnings: as in the report.
        identity: what the report is about, as names and values; an empty value was not known.
    """

    title: str
    several: bool
    images: str
    machine: str
    created: str
    overall: Verdict | None
    summary: str
    fail_reasons: tuple[str, ...]
    comparisons: tuple[ComparisonView, ...]
    uncompared: tuple[EngineView, ...]
    failures: tuple[EngineView, ...]
    models: tuple[ModelView, ...]
    bootstrap: str
    published: tuple[PublishedView, ...]
    published_note: str
    warnings: tuple[str, ...]
    identity: tuple[tuple[str, str], ...]


def view_of(report: Report) -> ReportView:
    """The report with every number formatted."""
    names = [each.model for each in report.identity.models]
    comparisons = _comparisons(report)
    return ReportView(
        title=", ".join(names),
        several=conclusions.several(report),
        images=f"{report.identity.images:,}",
        machine=report.identity.machine,
        created=report.identity.created,
        overall=conclusions.overall_verdict(report),
        summary=conclusions.summary(report),
        fail_reasons=conclusions.fail_reasons(report),
        comparisons=comparisons,
        uncompared=tuple(
            _engine(report, each, conclusions.ap_alone(report, each)) for each in conclusions.uncompared(report)
        ),
        failures=tuple(_engine(report, each, each.failure) for each in conclusions.unreported_failures(report)),
        models=tuple(_model(report, name, comparisons) for name in names),
        bootstrap=_bootstrap(report),
        published=tuple(map(_published, report.published)),
        published_note=PUBLISHED_NOTE,
        warnings=report.warnings,
        identity=_identity(report),
    )


def _model(report: Report, model: str, comparisons: Sequence[ComparisonView]) -> ModelView:
    engines = [each for each in report.engines if each.model == model]
    names = dict.fromkeys(name for engine in engines for name in engine.stats)
    return ModelView(
        model=model,
        engines=tuple(_engine(report, each) for each in engines),
        comparisons=tuple(pair for pair in comparisons if pair.model == model),
        statistics=tuple(
            StatisticView(
                name, _STATISTICS.get(name, ""), tuple(numbers.points(each.stats.get(name)) for each in engines)
            )
            for name in names
        ),
        detections=tuple(numbers.NOT_AVAILABLE if each.failure else f"{each.detections:,}" for each in engines),
    )


def _engine(report: Report, engine: EngineResult, remark: str = "") -> EngineView:
    label = conclusions.label_of(report, engine.model, engine.name)
    speed = engine.speed
    if engine.emulated or engine.failure or speed is None:
        why = "failed" if engine.failure else EMULATED if engine.emulated else NOT_MEASURED
        return EngineView(engine.model, label, engine.name, None, why, remark)
    p50, p90 = (numbers.rate(speed.latency_ms.get(name)) for name in ("p50", "p90"))
    shown = SpeedView(numbers.rate(speed.images_per_second), p50, p90, str(speed.batch), speed.includes, speed.excludes)
    return EngineView(engine.model, label, engine.name, shown, "", remark)


def _comparisons(report: Report) -> tuple[ComparisonView, ...]:
    """The comparisons; all plots have the same scale in margins."""
    aps = {(each.model, each.name): each.stats.get("AP") for each in report.engines if not each.failure}
    reach = _reach(report.comparisons)
    return tuple(
        _comparison(pair, conclusions.label_of(report, pair.model, pair.candidate), aps, reach)
        for pair in report.comparisons
    )


def _comparison(
    pair: Comparison, label: str, aps: Mapping[tuple[str, str], float | None], reach: float
) -> ComparisonView:
    reference, candidate = (aps.get((pair.model, name)) for name in (pair.reference, pair.candidate))
    known = reference is not None and candidate is not None
    delta = numbers.difference(pair.delta_ap) if known else numbers.NOT_AVAILABLE
    ci90, ci95 = (numbers.interval(each) if known else numbers.NOT_AVAILABLE for each in (pair.ci90, pair.ci95))
    words = (
        f"{label}: difference {delta}, 90 % interval {ci90}, 95 % interval {ci95}, margin {numbers.margin(pair.margin)}"
    )
    plot = Markup()
    if delta != numbers.NOT_AVAILABLE:
        plot = svg.interval_plot(pair.delta_ap, pair.ci90, pair.ci95, pair.margin, reach=reach, label=words)
    return ComparisonView(
        model=pair.model,
        label=label,
        candidate=pair.candidate,
        reference=pair.reference,
        verdict=pair.verdict,
        reason=conclusions.reason(pair),
        first_broken_stage=pair.first_broken_stage,
        ap_reference=numbers.points(reference),
        ap_candidate=numbers.points(candidate),
        delta=delta,
        ci90=ci90,
        ci95=ci95,
        margin=numbers.margin(pair.margin),
        interval_plot=plot,
        agreement=_agreement(pair.agreement) if pair.agreement else None,
        worst_images=pair.disagreements,
    )


def _reach(comparisons: Sequence[Comparison]) -> float:
    """Enough margins for every comparison that fits at all; one far off must not make the others small."""
    least, most = _REACH
    sizes = [abs(value) / pair.margin for pair in comparisons if pair.margin > 0 for value in pair.ci95]
    return max([1.15 * size for size in sizes if 1.15 * size <= most] + [least])


def _agreement(found: Agreement) -> AgreementView:
    return AgreementView(
        threshold=numbers.small(found.threshold),
        matched=numbers.percent(found.matched_share),
        unmatched_reference=f"{found.unmatched_reference:,}",
        unmatched_candidate=f"{found.unmatched_candidate:,}",
        score_drift=_percentiles(found.score_drift),
        score_shift=numbers.signed(found.score_shift),
        iou_loss=_percentiles(found.iou_loss),
        score_plot=_histogram(found.score_histogram, "score of the candidate minus that of the reference"),
        iou_plot=_histogram(found.iou_histogram, "IoU of matched boxes"),
    )


def _percentiles(values: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(numbers.small(values.get(name)) for name in ("p50", "p99", "max"))


def _histogram(counted: Histogram, label: str) -> Markup:
    return svg.histogram(counted.edges, counted.counts, x_label=label, y_label="pairs")


def _bootstrap(report: Report) -> str:
    kinds = dict.fromkeys(f"{pair.replicas:,} replicas, seed {pair.seed}" for pair in report.comparisons)
    return "; ".join(kinds)


def _published(row: PublishedRow) -> PublishedView:
    quoted = row.published
    return PublishedView(
        row=str(row.row),
        model=row.model,
        box_ap=f"{quoted.box_ap:g} %",
        images_per_second=f"{quoted.fps:g}",
        hardware=quoted.hardware,
        year=str(quoted.year),
        ap_here=None if row.measured_ap is None else numbers.ap_percent(row.measured_ap),
        images_per_second_here=None if row.measured_fps is None else numbers.rate(row.measured_fps),
        note=quoted.note,
    )


def _identity(report: Report) -> tuple[tuple[str, str], ...]:
    this = report.identity
    hashes = []
    for each in this.models:
        whose = f"{each.model} " if conclusions.several(report) else ""
        hashes += [(f"{whose}weights sha256", each.weights_sha256), (f"{whose}onnx sha256", each.onnx_sha256)]
    return (
        ("models" if conclusions.several(report) else "model", ", ".join(each.model for each in this.models)),
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
