"""The detectors that benchmarks run: the bundled ones, and rows 1 to 4 with the parameters of the stored cases."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from row_models import row_model

from pssdet.errors import BadInput
from pssdet.models.zoo import PUBLISHED, ZooEntry, bundled

#: The detectors by the names that reports use: what the tests' ``row_model`` calls them.
ROWS: dict[str, str | int] = {
    **{entry.name: entry.name for entry in bundled()},
    **{f"row{entry.row}": entry.row for entry, _ in PUBLISHED},
}
#: Packages whose versions a document names.
PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "opencv-python-headless")

Tensors = Mapping[str, NDArray[Any]]


class Converted(Protocol):
    """A detector in Paddle and in ONNX: what benchmarks use of the tests' ``RowModel``."""

    entry: ZooEntry
    onnx: Any

    def run_onnx(self, inputs: Tensors, shift: float = 0.0) -> Tensors:
        """Every stage in ONNX Runtime, with the background logit of every head shifted."""
        ...


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that is not in ``ROWS``.

    Raises:
        BadInput: a name is not among them.
    """
    if unknown := [name for name in names if name not in ROWS]:
        raise BadInput(f"there is no detector {unknown[0]!r}; choose from {', '.join(ROWS)}")


def convert(name: str, folder: Path) -> Converted:
    """A detector, converted without the verification, which takes longer than all the rest; files go to ``folder``."""
    converted: Converted = row_model(ROWS[name], folder)
    return converted
