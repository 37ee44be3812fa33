"""The Markdown documents that benchmarks write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pssdet.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table."""
    titles = list(head)
    return [
        f"| {' | '.join(titles)} |",
        "|" + "-|" * len(titles),
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]


def measured_table(head: Iterable[str], rows: Sequence[Iterable[str]], *notes: str) -> list[str]:
    """A table with notes below it; without rows it was not measured."""
    if not rows:
        return ["not measured"]
    return [*table(head, rows), *(("", *notes) if notes else ())]


def document(*blocks: str | Iterable[str]) -> str:
    """Headings, paragraphs and tables with an empty line between each; a block is a text or its lines."""
    return "\n\n".join(block if isinstance(block, str) else "\n".join(block) for block in blocks) + "\n"


def publish(path: Path, text: str) -> None:
    """Write a document and print it; ``BadInput`` if the folder cannot be written to."""
    write_atomically(path, text.encode())
    print(text)
