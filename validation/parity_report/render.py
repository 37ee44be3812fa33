"""The parity report in all its forms: ``report.json``, ``report.md``, ``report.html`` and tables for the terminal.

Markdown and HTML are two templates over one ``ReportView``. The page needs nothing else: no script, no network.
"""

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

from pssdet.errors import BadInput
from pssdet.files import staged_folder
from pssdet.validation.parity_report.number_format import NOT_AVAILABLE
from pssdet.validation.parity_report.schema import SCHEMA, Report
from pssdet.validation.parity_report.view import NOT_MEASURED, ModelView, ReportView, view_of

REPORT_JSON = "report.json"

TEMPLATES = Path(__file__).parent / "templates"

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}

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


def read_report(folder: Path) -> Report:
    """The report of a folder.

    Raises:
        BadInput: there is none of this version.
    """
    path = folder / REPORT_JSON
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path} is not a report of this version ({error}); make it again") from error
    if report.schema != SCHEMA:
        raise BadInput(f"{path} has schema {report.schema}, this version reads {SCHEMA}; make it again")
    return report


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
    return environment.get_template(template).render(view=view, NOT_AVAILABLE=NOT_AVAILABLE, NOT_MEASURED=NOT_MEASURED)


def _as_markdown(value: object) -> Markup:
    """A value as Markdown text on one line, with all markup in it escaped."""
    if isinstance(value, Markup):  # of the template itself
        return value
    line = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(_SPECIAL.sub(lambda found: "\\" + found[0], line))  # noqa: S704


def parity_tables(view: ReportView) -> list[Table]:
    """A table for each model that has comparisons, one line for each of them."""
    return [_table(view, each) for each in view.models if each.comparisons]


def notes(view: ReportView) -> list[str]:
    """The facts that the tables leave out: engines that were not compared, and warnings."""
    alone = [f"{each.model}/{each.name}: {each.remark}" for each in view.uncompared]
    return [*alone, *(f"warning: {warning}" for warning in view.warnings)]


def _table(view: ReportView, of: ModelView) -> Table:
    references = sorted({pair.reference for pair in of.comparisons})
    title = f"{of.model}, {view.images} images against {', '.join(references)}"
    # Without frames, all of it fits into 120 columns, which is what a log file gets.
    table = Table(title=_line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("candidate", overflow="fold")
    # Widths that the usual contents need, so that the tables of several models have the same columns.
    for name, width in (("AP\nreference", 9), ("AP\ncandidate", 9), ("delta", 6), ("90 % interval", 16), ("margin", 6)):
        table.add_column(name, justify="right", min_width=width)
    table.add_column("verdict", min_width=len("INCONCLUSIVE"))
    for name, width in (("matched", 8), ("score\ndrift p99", 9)):
        table.add_column(name, justify="right", min_width=width)
    for pair in of.comparisons:
        name = pair.candidate if len(references) == 1 else f"{pair.candidate} vs {pair.reference}"
        verdict = Text(pair.verdict, style=_STYLES[pair.verdict])
        numbers = (pair.ap_reference, pair.ap_candidate, pair.delta, pair.ci90, pair.margin)
        agreement = pair.agreement
        matched, drift = (agreement.matched, agreement.score_drift[1]) if agreement else (NOT_AVAILABLE, NOT_AVAILABLE)
        table.add_row(_line(name), *numbers, verdict, matched, drift)
    return table


def _line(text: str) -> Text:
    """Text on one line; as a ``Text``, since rich would read "[...]" in a name as markup."""
    return Text(" ".join(text.split()))
