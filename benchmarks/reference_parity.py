"""How far ONNX Runtime and OpenVINO are from the original programs, over all stored cases.

    python benchmarks/reference_parity.py [FOLDER]    # writes benchmarks/results/reference_parity.md

Converts rows 1 to 4 with the seeded parameters, runs every case and keeps the largest difference of each stage.
FOLDER may hold further cases in the format of ``tests/data/reference`` with their pictures in its subfolder
``images``. Exit code 1 if a case is beyond the limits of ``models/stages.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from reference import (
    DATA,
    SAMPLES,
    case_inputs,
    disagreements,
    entry_of,
    expected_detections,
    load_case,
    sample_positions,
    stored_regions,
)
from row_models import row_model

from benchmarks.documents import table
from benchmarks.shared import ROWS, write_page
from pssdet.commands.app import run
from pssdet.console import Progress, steps
from pssdet.errors import GateFailed
from pssdet.images import load
from pssdet.models.architecture import Architecture
from pssdet.models.matching import detection_rows, match_detections, pair_proposals
from pssdet.models.preprocess import prepare
from pssdet.models.stages import FLOAT32, map_stages, rows_of_image

HEAD = (
    "case", "maps, of max", "proposals", "cascade's regions", "probabilities", "decoded boxes", "detections",
    "score", "box", "within the limits",
)  # fmt: skip
NOTE = """\
Regions, probabilities and boxes are compared through the pairs of proposals; a pair of near-equal scores
that changed places shows as a large distance and counts against the limits' share of 2 %."""
#: Of a network's input, by the place of the resizing: OpenCV 4.2, with which the static rows' inputs were
#: recorded, resizes floats a little differently.
INPUT_LIMITS = {"first": 1e-5, "last": 1e-4}

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
#: Runs a case's inputs, its background logits shifted by that much.
Run: TypeAlias = Callable[[Tensors, float], Tensors]


def parity(further: Path | None = None, /) -> None:
    """Compare and write the tables.

    Args:
        further: Folder of further cases.
    """
    sources = {"Stored cases": (DATA / "reference", DATA)}
    if further:
        sources["Original photographs, not distributed here"] = (further, further / "images")
    known: set[str] = set()
    tables: dict[str, list[list[str]]] = {}
    inputs: list[list[str]] = []
    with steps() as progress:
        for name in [name for name, key in ROWS.items() if isinstance(key, int)]:
            progress(f"converting {name}")
            with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
                row = row_model(ROWS[name], Path(folder))
                for title, (stored, pictures) in sources.items():
                    names = {path.stem for path in stored.glob(f"{name}_*.npz")} - known
                    known |= names
                    cases = {each: load_case(each, stored) for each in sorted(names)}
                    inputs += _inputs(cases, pictures)
                    for engine, run_case in (("ONNX Runtime", row.run_onnx), ("OpenVINO", row.run_openvino)):
                        found = _outputs(row.entry.architecture, run_case, cases, pictures, progress)
                        tables.setdefault(f"{title}, {engine}", []).extend(found)
    write_page(
        __file__,
        "ONNX Runtime and OpenVINO against the original programs, float32 on a CPU",
        *[block for title, rows in tables.items() for block in (f"## {title}", table(HEAD, rows))],
        "## Network inputs made from pictures",
        table(("case", "padded size", "largest difference, normalised units", "within the limits"), inputs),
        NOTE,
        before="Largest differences. ",
        arguments=" FOLDER" if further else "",
    )
    if any(cells[-1] != "yes" for rows in (*tables.values(), inputs) for cells in rows):
        raise GateFailed("a case is beyond the limits; the table names it")


def _inputs(cases: Mapping[str, Tensors], pictures: Path) -> Iterator[list[str]]:
    for name, case in cases.items():
        if "input_values" in case:
            entry = entry_of(case)
            obtained = prepare(load(pictures / str(case["image"])), entry.preprocessing).image
            positions = sample_positions(
                "input", int(case["sample_seed"]), obtained.size, len(case["input_values"])
            )
            difference = float(np.abs(obtained.reshape(-1)[positions] - case["input_values"]).max())
            limit = INPUT_LIMITS[entry.preprocessing.resize]
            shape = obtained.shape == tuple(case["input_shape"][1:])
            size = "x".join(map(str, obtained.shape[1:]))
            yield [
                name,
                size,
                f"{difference:.1e}",
                "yes" if shape and difference <= limit else f"no, {limit:g}",
            ]


def _outputs(
    arch: Architecture, run_case: Run, cases: Mapping[str, Tensors], pictures: Path, progress: Progress
) -> Iterator[list[str]]:
    for name, case in cases.items():
        if "detections" in case:
            progress(name)
            tensors = run_case(case_inputs(case, pictures), float(case.get("background_shift", 0)))
            yield _line(name, case, tensors, arch)


def _line(name: str, case: Tensors, tensors: Tensors, arch: Architecture) -> list[str]:
    maps = max(_map_difference(case, stage, tensors[stage]) for stage in map_stages(arch))
    count = int(tensors["proposal_count"][0])
    proposals, scores = tensors["proposals"][0, :count], tensors["proposal_scores"][0, :count]
    pairs = pair_proposals(case["proposals"], case["proposal_scores"], proposals, scores)
    distance = np.abs(proposals[pairs] - case["proposals"]).max(axis=1)
    near = int((distance <= FLOAT32.proposals).sum())

    def largest(stage: str) -> float:
        stored = stored_regions(case, stage)
        obtained = rows_of_image(stage, tensors[stage], 0, 1)[pairs[: len(stored)]]
        return float(np.abs(obtained - stored).max())

    cascade = max((largest(f"rois_stage{stage}") for stage in range(2, arch.num_heads + 1)), default=None)
    match = match_detections(detection_rows(tensors, 0), expected_detections(case), FLOAT32.score, FLOAT32.box)
    return [
        name,
        f"{maps:.1e}",
        f"{near} of {len(distance)}, {distance.max():.4f} px",
        "-" if cascade is None else f"{cascade:.4f} px",
        f"{largest('class_probabilities'):.1e}",
        f"{largest('decoded_boxes'):.4f} px",
        f"{match.matched} of {match.expected} ({match.obtained} found)",
        f"{match.score:.1e}",
        f"{match.box:.4f} px",
        "; ".join(disagreements(case, tensors)) or "yes",
    ]


def _map_difference(case: Tensors, stage: str, array: NDArray[Any]) -> float:
    positions = sample_positions(stage, int(case["sample_seed"]), array.size, SAMPLES)
    expected = case[f"{stage}_values"]
    return float(np.abs(array.reshape(-1)[positions] - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    run(parity)
