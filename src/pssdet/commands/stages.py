"""Compare engines with Paddle, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


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

    from pssdet.commands.stage_table import stage_table
    from pssdet.console import OUT, steps
    from pssdet.errors import BadInput, GateFailed
    from pssdet.files import write_atomically
    from pssdet.images import find_files
    from pssdet.validation.compare import compare_engines

    if not images:
        raise BadInput("there is nothing to compare on; name the pictures first, what follows --engines is an engine")
    with steps() as progress:
        results = compare_engines(reference, engines, find_files(images), progress)
    for result in results:
        OUT.print(stage_table(f"{result.name} against {reference.name}", result.records))
    if json is not None:
        rows = [{"engine": result.name, "stages": result.records} for result in results]
        write_atomically(json, msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
    failed = [result.name for result in results if not all(record.passed for record in result.records)]
    if failed:
        raise GateFailed(f"beyond the limits: {', '.join(failed)}; the table shows the first stage that differs")
