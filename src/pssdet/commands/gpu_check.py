"""Check what this machine's GPU does with the kernels, the plugins and the engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def gpu_check(
    *,
    budget: float = 480.0,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    resume: bool = False,
    output: Path = Path("artifacts/gpu-check"),
    bundles: Path = Path("artifacts/gpu"),
    pack: bool = False,
    cases: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    record: Path | None = None,
    page: Path = Path("docs/gpu-status.md"),
) -> None:
    """Check what this machine's GPU does with the kernels, the plugins and the engines.

    Each step has a process of its own and a time limit, so that a crash or a hang is a result. Writes
    gpu-check.json and gpu-check.md, which can be pasted into an issue: without paths and host names. Without a
    GPU it says what would have run and exits with 3. What the steps about engines need is packed with --pack.

    Args:
        budget: Seconds in all; what does not fit is done by --resume (default: 480).
        only: Steps to run, with all that they need.
        resume: Keep the results that the last run had on this machine.
        output: Folder of results, logs and plans (default: artifacts/gpu-check).
        bundles: Folder of the bundles (default: artifacts/gpu).
        pack: Make the bundles there instead, where Paddle is installed: models, pictures, expected results.
        cases: What to pack (default: mini, scenes and row4).
        record: Add the results in this gpu-check.json to the page as one row instead.
        page: The page, which has a line <!-- runs --> (default: docs/gpu-status.md).
    """
    from pssdet.console import OUT
    from pssdet.validation.gpu_check.command import Options
    from pssdet.validation.gpu_check.command import gpu_check as check

    check(Options(budget, only, resume, output, bundles, pack, cases, record, page), OUT.print)
