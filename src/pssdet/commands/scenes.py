"""Render scenes as a COCO data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def scenes(output: Path, *, count: int = 300, split: Literal["heldout", "train"] = "heldout") -> None:
    """Render the scenes that the bundled detectors are trained and judged on.

    Writes JPEG files and instances.json, a COCO instances file. The same scenes every time.

    Args:
        output: Folder to write to.
        count: How many (default: 300).
        split: The held-out scenes, or those of the training.
    """
    from rich.progress import Progress

    from pssdet.console import ERR, OUT
    from pssdet.validation.scenes.dataset import ensure_dataset

    with Progress(console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        task = bar.add_task("rendering", total=count)
        path = ensure_dataset(output, split, count, lambda done: bar.update(task, completed=done))
    OUT.print(f"{count} scenes of the split {split}: {path}")
