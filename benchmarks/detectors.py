"""The detectors that benchmarks run: the bundled ones, and rows 1 to 4 with the parameters of the stored cases."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.append(str(ROOT / "tests"))  # whoever imports this module may import the tests' helpers after it

from row_models import row_model  # noqa: E402

from pssdet.errors import BadInput  # noqa: E402
from pssdet.models.zoo import PUBLISHED, bundled  # noqa: E402

#: The detectors by the names that reports use: what the tests' ``row_model`` calls them.
ROWS: dict[str, str | int] = {
    **{entry.name: entry.name for entry in bundled()},
    **{f"row{entry.row}": entry.row for entry, _ in PUBLISHED},
}
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "opencv-python-headless")


def check_names(names: Iterable[str]) -> None:
    """Refuse what is no detector of ``ROWS``.

    Raises:
        BadInput: a name is not among them.
    """
    if unknown := [name for name in names if name not in ROWS]:
        raise BadInput(f"there is no detector {unknown[0]!r}; choose from {', '.join(ROWS)}")


def convert(name: str, folder: Path) -> Any:
    """The detector in Paddle and in ONNX, a ``RowModel`` of the tests; its files go to ``folder``.

    Nothing is verified, which takes longer than all the rest.
    """
    return row_model(ROWS[name], folder)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    titles = list(head)
    yield f"| {' | '.join(titles)} |"
    yield "|" + "-|" * len(titles)
    for cells in rows:
        yield f"| {' | '.join(cells)} |"
