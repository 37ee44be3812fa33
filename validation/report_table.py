"""The parity table for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pssdet.validation.report_schema import Report
from pssdet.validation.report_text import parity_rows

_STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def parity_table(report: Report) -> Table:
    """What the report comes to, one line per comparison."""
    references = sorted({comparison.reference for comparison in report.comparisons})
    against = f" against {', '.join(references)}" if references else ""
    title = f"{report.identity.model}, {report.identity.images:,} images{against}"
    # Without frames, all of it fits into 120 columns, which is what a log file gets.
    table = Table(title=_line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("candidate", overflow="fold")
    for name in ("AP\nreference", "AP\ncandidate", "delta", "90 % interval", "margin"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for name in ("matched", "score\ndrift p99"):
        table.add_column(name, justify="right")
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
