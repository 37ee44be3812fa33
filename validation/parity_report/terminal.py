"""The parity table for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pssdet.validation.parity_report.models import by_model, models, uncompared
from pssdet.validation.parity_report.schema import Report
from pssdet.validation.parity_report.text import ap_alone, parity_rows

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def parity_tables(report: Report) -> list[Table]:
    """What the report comes to: a table for each model that has comparisons, one line for each of them."""
    return [_table(part) for part in by_model(report) if part.comparisons]


def notes(report: Report) -> list[str]:
    """What the tables do not show: engines that were not compared, and warnings."""
    alone = [f"{each.model}/{each.name}: {ap_alone(report, each)}" for each in uncompared(report)]
    return [*alone, *(f"warning: {warning}" for warning in report.warnings)]


def _table(report: Report) -> Table:
    references = sorted({comparison.reference for comparison in report.comparisons})
    title = f"{', '.join(models(report))}, {report.identity.images:,} images against {', '.join(references)}"
    # Without frames, all of it fits into 120 columns, which is what a log file gets.
    table = Table(title=_line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("candidate", overflow="fold")
    # Widths that the usual contents need, so that the tables of several models have the same columns.
    for name, width in (("AP\nreference", 9), ("AP\ncandidate", 9), ("delta", 6), ("90 % interval", 16), ("margin", 6)):
        table.add_column(name, justify="right", min_width=width)
    table.add_column("verdict", min_width=len("INCONCLUSIVE"))
    for name, width in (("matched", 8), ("score\ndrift p99", 9)):
        table.add_column(name, justify="right", min_width=width)
    for row in parity_rows(report):
        pair = row.comparison
        name = pair.candidate if len(references) == 1 else f"{pair.candidate} vs {pair.reference}"
        verdict = Text(pair.verdict, style=_STYLES[pair.verdict])
        numbers = (row.ap_reference, row.ap_candidate, row.delta, row.ci90, row.margin)
        table.add_row(_line(name), *numbers, verdict, row.matched, row.drift)
    return table


def _line(text: str) -> Text:
    """Text on one line; names may hold "[...]", which is no markup here."""
    return Text(" ".join(text.split()))
