"""The parity report as one HTML file that needs nothing else: no script, no network, no fonts."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pssdet.validation import report_numbers as numbers
from pssdet.validation import report_text as text
from pssdet.validation import svg
from pssdet.validation.report_schema import Comparison, Histogram, Report

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
            rows=text.parity_rows(report),
            failures=text.untold_failures(report),
            plots=_interval_plots(report),
            stat_names=text.stat_names(report),
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


def _interval_plots(report: Report) -> list[Markup]:
    """A plot for each row of the AP table, all to the same scale in margins."""
    rows = text.parity_rows(report)
    reach = _reach([row.comparison for row in rows if row.delta != numbers.NOT_AVAILABLE])
    return [_interval_plot(row, reach) for row in rows]


def _interval_plot(row: text.ParityRow, reach: float) -> Markup:
    if row.delta == numbers.NOT_AVAILABLE:
        return Markup("")
    pair = row.comparison
    label = f"difference {row.delta}, 90 % interval {row.ci90}, 95 % interval {row.ci95}, margin {row.margin}"
    return _drawing(svg.interval_plot(pair.delta_ap, pair.ci90, pair.ci95, pair.margin, reach=reach, label=label))


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
