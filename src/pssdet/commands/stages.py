"""Compare engines with Paddle, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pssdet.models.card import StageRecord

#: Relative differences are parts of the largest value of the reference.
_UNITS = {"relative": "of max", "absolute": ""}


def stages(
    *images: Path,
    engines: Annotated[list[Path], Parameter(consume_multiple=True)],
    reference: Path,
    json: Path | None = None,
) -> None:
    """Compare engines with a reference engine at every stage of the detector.

    Each picture runs through every engine alone. An engine beyond the limits of its precision makes the
    exit code 1.

    Args:
        images: Pictures to compare on.
        engines: Folders of the engines to judge.
        reference: Folder of the engine that is right by definition, Paddle's as a rule.
        json: Also write every figure to this file.
    """
    import msgspec

    from pssdet.console import OUT, steps
    from pssdet.errors import BadInput, GateFailed
    from pssdet.files import write_atomically
    from pssdet.images import find_files
    from pssdet.validation.compare import compare_engines

    if not images:
        raise BadInput(
            "there is nothing to compare on; name the pictures first, what follows --engines is an engine"
        )
    with steps() as progress:
        results = compare_engines(reference, engines, find_files(images), progress)
    for result in results:
        OUT.print(stage_table(f"{result.name} against {reference.name}", result.records))
    if json is not None:
        rows = [{"engine": result.name, "stages": result.records} for result in results]
        write_atomically(json, msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
    failed = [result.name for result in results if not all(record.passed for record in result.records)]
    if failed:
        raise GateFailed(
            f"beyond the limits: {', '.join(failed)}; the table shows the first stage that differs"
        )


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
        usual = next((record for record in row if record.passed), row[0])
        table.add_row(stage, *(_cell(record, usual.unit) for record in row), f"{usual.limit:g} {_unit(usual)}")
    return table


def _cell(record: StageRecord, usual: str) -> Text:
    # Detections that fail have the unit of what differs.
    unit = "" if record.unit == usual else f" {_unit(record)}"
    share = "" if record.share == 1.0 else f" ({record.share:.1%})"
    return Text(f"{record.difference:.1e}{unit}{share}", style="green" if record.passed else "red")


def _unit(record: StageRecord) -> str:
    return _UNITS.get(record.unit, record.unit)
