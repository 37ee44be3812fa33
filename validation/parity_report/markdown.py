"""The parity report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pssdet.validation.parity_report.models import by_model, label, models, several, uncompared
from pssdet.validation.parity_report.number_format import ap_percent, percent, points, rate, signed, small
from pssdet.validation.parity_report.schema import Comparison, EngineResult, PublishedRow, Report
from pssdet.validation.parity_report.text import (
    EMULATED,
    NOT_MEASURED,
    PUBLISHED_NOTE,
    ap_alone,
    bootstraps,
    identity_rows,
    overall_verdict,
    parity_rows,
    reason,
    stat_names,
    summary,
    untold_failures,
)

#: What Markdown would read as markup; an underscore only does at the edge of a word.
_SPECIAL = re.compile(r"[\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")


def to_markdown(report: Report) -> str:
    """The whole report, verdict first; pictures and plots are in the HTML only."""
    parts = [
        f"# Parity report: {_plain(', '.join(models(report)))}",
        *_verdict(report),
        "## Box AP",
        *_of_each_model(report, _ap),
        *_ap_note(report),
        "## COCO statistics",
        *_of_each_model(report, _stats),
        "## Agreement of the detections",
        *_of_each_model(report, _agreement),
        "## Speed",
        *_of_each_model(report, _speed),
        "## Published figures",
        *_published(report),
        "## Warnings",
        _list(_plain(warning) for warning in report.warnings) or "None.",
        "## Identity",
        *_identity(report),
    ]
    return "\n\n".join(parts) + "\n"


def _of_each_model(report: Report, section: Callable[[Report], list[str]]) -> list[str]:
    if not several(report):
        return section(report)
    return [text for part in by_model(report) for text in (f"### {_plain(models(part)[0])}", *section(part))]


def _verdict(report: Report) -> list[str]:
    lines = [f"**{overall_verdict(report) or 'NO VERDICT'}**: {_plain(summary(report))}."]
    verdicts = _list(_verdict_line(report, comparison) for comparison in report.comparisons)
    alone = _list(f"{_name(report, engine)}: {_plain(ap_alone(report, engine))}" for engine in uncompared(report))
    failures = _list(
        f"**{_name(report, engine)} gave no result**: {_plain(engine.failure)}" for engine in untold_failures(report)
    )
    return [part for part in (*lines, verdicts, alone, failures) if part]


def _verdict_line(report: Report, pair: Comparison) -> str:
    broken = f"(first broken stage: {_plain(pair.first_broken_stage)})" if pair.first_broken_stage else ""
    head = f"**{pair.verdict}** {_plain(label(report, pair.model, pair.candidate))} against {_plain(pair.reference)}:"
    return " ".join(part for part in (head, _plain(reason(pair)), broken) if part)


def _ap(report: Report) -> list[str]:
    header = ("candidate", "reference", "AP reference", "AP candidate", "delta", "ci90", "ci95", "margin", "verdict")
    rows = []
    for row in parity_rows(report):
        pair = row.comparison
        numbers = (row.ap_reference, row.ap_candidate, row.delta, row.ci90, row.ci95, row.margin)
        rows.append((_plain(pair.candidate), _plain(pair.reference), *map(_plain, numbers), pair.verdict))
    return [_table(header, rows)] if rows else ["Nothing was compared."]


def _ap_note(report: Report) -> list[str]:
    drawn = bootstraps(report)
    note = f"Intervals: paired bootstrap over images ({drawn}). AP in percent; report.json has fractions."
    return [note] if drawn else []


def _stats(report: Report) -> list[str]:
    names = stat_names(report)
    if not names:
        return ["No engine gave a result."]
    header = ("statistic", *(_plain(engine.name) for engine in report.engines))
    rows = [(_plain(name), *(points(engine.stats.get(name)) for engine in report.engines)) for name in names]
    counts = ("detections", *("n/a" if engine.failure else f"{engine.detections:,}" for engine in report.engines))
    return [_table(header, [*rows, counts])]


def _agreement(report: Report) -> list[str]:
    header = ("candidate", "reference", "score from", "matched", "unmatched reference", "unmatched candidate")
    drifts = ("score drift p50 / p99 / max", "mean score shift", "IoU loss p50 / p99 / max")
    rows = [_agreement_row(pair) for pair in report.comparisons]
    if not rows:
        return ["Nothing was compared."]
    worst = _list(
        f"{_plain(pair.candidate)}, {_plain(each.image)}: {_plain(each.reason)}"
        for pair in report.comparisons
        for each in pair.disagreements
    )
    return [_table((*header, *drifts), rows), *(("Worst disagreements:", worst) if worst else ())]


def _agreement_row(pair: Comparison) -> Sequence[str]:
    names, found = (_plain(pair.candidate), _plain(pair.reference)), pair.agreement
    if found is None:
        return (*names, *["n/a"] * 7)
    unmatched = (f"{found.unmatched_reference:,}", f"{found.unmatched_candidate:,}")
    drifts = (_percentiles(found.score_drift), signed(found.score_shift), _percentiles(found.iou_loss))
    return (*names, small(found.threshold), percent(found.matched_share), *unmatched, *drifts)


def _percentiles(values: dict[str, float]) -> str:
    return " / ".join(small(values.get(name)) for name in ("p50", "p99", "max"))


def _speed(report: Report) -> list[str]:
    header = ("engine", "images/s", "p50 ms", "p90 ms", "batch", "includes", "excludes")
    return [_table(header, [_speed_row(engine) for engine in report.engines])]


def _speed_row(engine: EngineResult) -> Sequence[str]:
    name, speed = _plain(engine.name), engine.speed
    if engine.emulated or engine.failure or speed is None:
        why = "failed" if engine.failure else EMULATED if engine.emulated else NOT_MEASURED
        return (name, why, "", "", "", "", "")
    latency = (rate(speed.latency_ms.get(each)) for each in ("p50", "p90"))
    contents = (_plain(speed.includes), _plain(speed.excludes))
    return (name, rate(speed.images_per_second), *latency, str(speed.batch), *contents)


def _published(report: Report) -> list[str]:
    header = ("row", "model", "box AP", "images/s", "hardware", "year", "AP here", "images/s here", "note")
    rows = [_published_row(row) for row in report.published]
    return [_table(header, rows), PUBLISHED_NOTE] if rows else ["None quoted."]


def _published_row(row: PublishedRow) -> Sequence[str]:
    quoted = row.published
    figures = (f"{quoted.box_ap:g} %", f"{quoted.fps:g}", _plain(quoted.hardware), str(quoted.year))
    ap = NOT_MEASURED if row.measured_ap is None else ap_percent(row.measured_ap)
    fps = NOT_MEASURED if row.measured_fps is None else rate(row.measured_fps)
    return (str(row.row), _plain(row.model), *figures, ap, fps, _plain(quoted.note))


def _identity(report: Report) -> list[str]:
    rows = [(_plain(name), _plain(value) or "none") for name, value in identity_rows(report)]
    return [_table(("what", "value"), rows)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (header, ["-"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _name(report: Report, engine: EngineResult) -> str:
    return _plain(label(report, engine.model, engine.name))


def _plain(text: str) -> str:
    """Text that says the same in Markdown: on one line, nothing in it read as markup."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(lambda found: "\\" + found[0], line)
