"""Stage-by-stage agreement as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pssdet.models.card import StageRecord

#: Relative differences are parts of the largest value of the reference.
_UNITS = {"relative": "of max", "absolute": "", "px": "px"}


def stage_table(title: str, records: Sequence[StageRecord]) -> Table:
    """One row per stage, one column per case; each cell is the largest difference and the share of rows.

    A stage within its limit is green, one beyond it red.
    """
    cases = list(dict.fromkeys(record.case for record in records))
    found = {(record.stage, record.case): record for record in records}
    table = Table(title=Text(title), title_justify="left")
    table.add_column("stage", no_wrap=True)
    for case in cases:
        table.add_column(Text(case), justify="right")
    table.add_column("limit", justify="right", no_wrap=True)
    for stage in dict.fromkeys(record.stage for record in records):
        row = [found[stage, case] for case in cases if (stage, case) in found]
        table.add_row(stage, *(_cell(record) for record in row), f"{row[0].limit:g} {_UNITS[row[0].unit]}")
    return table


def _cell(record: StageRecord) -> Text:
    share = "" if record.share == 1.0 else f" ({record.share:.1%})"
    return Text(f"{record.difference:.1e}{share}", style="green" if record.passed else "red")
