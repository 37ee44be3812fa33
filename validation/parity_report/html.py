"""The parity report as one HTML file that needs nothing else: no script, no network, no fonts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pssdet.validation.parity_report import number_format as numbers
from pssdet.validation.parity_report import svg, text
from pssdet.validation.parity_report.models import by_model, label, models, several, uncompared
from pssdet.validation.parity_report.schema import Comparison, EngineResult, Histogram, Report

_TEMPLATES = Path(__file__).parent / "templates"

#: How many margins the interval plots reach either way, at least and at most.
_REACH = (2.0, 5.0)

_STATS = {
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


def to_html(report: Report) -> str:
    """The whole report as one page, verdict first."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            overall=text.overall_verdict(report),
            summary=text.summary(report),
            title=", ".join(models(report)),
            several=several(report),
            parts=_parts(report),
            alone=uncompared(report),
            failures=text.untold_failures(report),
            stat_meanings=_STATS,
            identity=text.identity_rows(report),
            text=text,
            numbers=numbers,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(histogram=_histogram)
    return environment


class _Part(NamedTuple):
    """What the page shows of one model; ``rows`` are those of the AP table, each with its plot."""

    model: str
    engines: tuple[EngineResult, ...]
    stat_names: list[str]
    rows: list[tuple[text.ParityRow, Markup]]


def _parts(report: Report) -> list[_Part]:
    """Of every model; all plots have the same scale in margins."""
    everything = text.parity_rows(report)
    reach = _reach([row.comparison for row in everything if row.delta != numbers.NOT_AVAILABLE])
    return [
        _Part(
            models(part)[0],
            part.engines,
            text.stat_names(part),
            [(row, _interval_plot(report, row, reach)) for row in text.parity_rows(part)],
        )
        for part in by_model(report)
    ]


def _interval_plot(report: Report, row: text.ParityRow, reach: float) -> Markup:
    if row.delta == numbers.NOT_AVAILABLE:
        return Markup("")
    pair = row.comparison
    name = label(report, pair.model, pair.candidate)
    words = f"{name}: difference {row.delta}, 90 % interval {row.ci90}, 95 % interval {row.ci95}, margin {row.margin}"
    return _drawing(svg.interval_plot(pair.delta_ap, pair.ci90, pair.ci95, pair.margin, reach=reach, label=words))


def _reach(comparisons: list[Comparison]) -> float:
    """Enough for every comparison that fits at all; one far off must not make the others small."""
    least, most = _REACH
    sizes = [abs(value) / pair.margin for pair in comparisons if pair.margin > 0 for value in pair.ci95]
    return max([1.15 * size for size in sizes if 1.15 * size <= most] + [least])


def _histogram(shape: Histogram, label: str) -> Markup:
    return _drawing(svg.histogram(shape.edges, shape.counts, x_label=label, y_label="pairs"))


def _drawing(markup: str) -> Markup:
    """A plot as it is: ``svg`` escapes the texts in it."""
    return Markup(markup)  # noqa: S704
