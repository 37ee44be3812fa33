"""The parity report as JSON, Markdown, a self-contained page and tables for the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pssdet.files import staged_folder
from pssdet.validation.parity_report import view as texts
from pssdet.validation.parity_report.schema import Report
from pssdet.validation.parity_report.svg import histogram
from pssdet.validation.parity_report.view import NOT_AVAILABLE, ModelView, ReportView, view_of

REPORT_JSON = "report.json"

TEMPLATES = Path(__file__).parent / "templates"

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}

PUBLISHED_NOTE = (
    "Quoted from PaddleDetection: COCO val2017; FP32 tools/eval.py end to end at batch 1, data loading and "
    "post-processing included. Speeds on different hardware do not compare."
)

#: What the templates write numbers with.
_FILTERS: tuple[Callable[..., object], ...] = (
    *(texts.ap_percent, texts.grouped, texts.margin, texts.percent, texts.percentiles),
    *(texts.points, texts.rate, texts.signed, texts.small),
)

#: Texts of the templates, and a plot.
_SHARED = {
    "NOT_AVAILABLE": NOT_AVAILABLE,
    "NOT_MEASURED": texts.NOT_MEASURED,
    "PUBLISHED_NOTE": PUBLISHED_NOTE,
    "STATISTICS": texts.STATISTICS,
    "histogram": histogram,
}

#: What Markdown would read as markup; an underscore only does at the edge of a word.
_SPECIAL = re.compile(r"[\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_])")


def encode(report: Report) -> bytes:
    """The report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def write_report(report: Report, folder: Path) -> None:
    """Write all three files, together or not at all.

    Raises:
        BadInput: the folder cannot be written to.
    """
    content = encode(report)
    msgspec.json.decode(content, type=Report)  # what is written can be read: no NaN, nothing out of its type
    view = view_of(report)
    with staged_folder(folder) as stage:
        (stage / "report.html").write_text(to_html(view), encoding="utf-8")
        (stage / "report.md").write_text(to_markdown(view), encoding="utf-8")
        (stage / REPORT_JSON).write_bytes(content)


def to_html(view: ReportView) -> str:
    """The whole report as one page, verdict first; the template escapes what it inserts."""
    return _rendered("report.html.j2", view)


def to_markdown(view: ReportView) -> str:
    """The whole report as Markdown, verdict first; pictures and plots are in the HTML only."""
    return _rendered("report.md.j2", view, _as_markdown)


def _rendered(template: str, view: ReportView, finalize: Callable[[object], Markup] | None = None) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {each.__name__: each for each in _FILTERS}
    return environment.get_template(template).render(_SHARED, view=view)


def _as_markdown(value: object) -> Markup:
    if isinstance(value, Markup):  # of the template itself
        return value
    line = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_SPECIAL.sub(lambda found: "\\" + found[0], line))  # noqa: S704


def parity_tables(view: ReportView) -> list[Table]:
    """A table for each model that has comparisons, one line for each of them."""
    return [_table(view, each) for each in view.models if each.comparisons]


def notes(view: ReportView) -> list[str]:
    """The facts that the tables leave out: engines that were not compared, and warnings."""
    alone = [f"{each.result.model}/{each.result.name}: {each.remark}" for each in view.uncompared]
    return [*alone, *(f"warning: {warning}" for warning in view.report.warnings)]


def _table(view: ReportView, of: ModelView) -> Table:
    references = sorted({row.pair.reference for row in of.comparisons})
    title = f"{of.model}, {view.report.identity.images:,} images against {', '.join(references)}"
    # Without frames, all of it fits into 120 columns, which is what a log file gets.
    table = Table(title=_line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("candidate", overflow="fold")
    # Widths that the usual contents need, so that the tables of several models have the same columns.
    for name, width in (
        ("AP\nreference", 9),
        ("AP\ncandidate", 9),
        ("delta", 6),
        ("90 % interval", 16),
        ("margin", 6),
    ):
        table.add_column(name, justify="right", min_width=width)
    table.add_column("verdict", min_width=len("INCONCLUSIVE"))
    for name, width in (("matched", 8), ("score\ndrift p99", 9)):
        table.add_column(name, justify="right", min_width=width)
    for row in of.comparisons:
        pair, found = row.pair, row.pair.agreement
        name = pair.candidate if len(references) == 1 else f"{pair.candidate} vs {pair.reference}"
        verdict = Text(pair.verdict, style=_STYLES[pair.verdict])
        numbers = (row.ap_reference, row.ap_candidate, row.delta, row.ci90, texts.margin(pair.margin))
        matched = texts.percent(found.matched_share if found else None)
        drift = texts.small(found.score_drift.get("p99") if found else None)
        table.add_row(_line(name), *numbers, verdict, matched, drift)
    return table


def _line(text: str) -> Text:
    """Text on one line; as a ``Text``, since rich would read "[...]" in a name as markup."""
    return Text(" ".join(text.split()))
