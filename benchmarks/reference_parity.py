"""How far ONNX Runtime is from the original program, over all stored cases of row 4.

    python benchmarks/reference_parity.py    # writes benchmarks/results/reference_parity.md

Exports row 4 with the seeded parameters, runs every case and keeps the largest difference of each stage.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from reference import DATA, ROW4, SAMPLES, case_inputs, load_case  # noqa: E402
from reference_sampling import sample_positions  # noqa: E402

from pssdet.console import steps  # noqa: E402
from pssdet.engines.backends.onnx_runtime import OnnxRuntimeSession  # noqa: E402
from pssdet.export.pipeline import export_model  # noqa: E402
from pssdet.models.pairing import match_detections, pair_proposals  # noqa: E402
from pssdet.models.stages import FLOAT32, detection_rows, map_stages, tap_names  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "reference_parity.md"
BACKGROUND_BIAS = "bbox_head.bbox_score.bias"
Tensors = Mapping[str, NDArray[Any]]


def main() -> None:
    """Export, run every case, write the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, steps() as progress:
        card = export_model(ROW4, "none", Path(folder), progress)
        for path in sorted((DATA / "reference").glob("row4_*.npz")):
            if "_preprocess_" in path.stem:
                continue
            progress(path.stem)
            case = load_case(path.stem)
            model = _shifted(Path(folder), float(case.get("background_shift", 0)))
            session = OnnxRuntimeSession(model, tap_names(ROW4.architecture), cuda=False)
            rows.append(_row(path.stem, case, session.run(case_inputs(case))))
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    RESULT.write_text(_document(rows, versions))
    print(RESULT.read_text())


def _shifted(folder: Path, shift: float) -> Path:
    """The model with another background logit, as some cases want it."""
    model = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == BACKGROUND_BIAS)
    values = numpy_helper.to_array(bias).copy()
    values[-1] += np.float32(shift)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, folder / "shifted.onnx")
    return folder / "shifted.onnx"


def _row(name: str, case: Tensors, tensors: Tensors) -> str:
    maps = max(_map_difference(case, stage, tensors[stage]) for stage in map_stages(ROW4.architecture))
    count = int(tensors["proposal_count"][0])
    proposals, scores = tensors["proposals"][0, :count], tensors["proposal_scores"][0, :count]
    pairs = pair_proposals(case["proposals"], case["proposal_scores"], proposals, scores)
    distance = np.abs(proposals[pairs] - case["proposals"]).max(axis=1)
    first = pairs[: len(case["class_probabilities"])]
    probabilities = np.abs(tensors["class_probabilities"][first] - case["class_probabilities"]).max()
    decoded = np.abs(tensors["decoded_boxes"][first] - case["decoded_boxes"]).max()
    expected = case["detections"][case["detections"][:, 1] > 0]
    match = match_detections(detection_rows(tensors, 0), expected, FLOAT32.score, FLOAT32.box)
    near = int((distance <= FLOAT32.proposals).sum())
    return (
        f"| {name} | {maps:.1e} | {near} of {len(distance)}, {distance.max():.4f} px | {probabilities:.1e} |"
        f" {decoded:.4f} px | {match.matched} of {match.expected} ({match.obtained} found) |"
        f" {match.score:.1e} | {match.box:.4f} px |"
    )


def _map_difference(case: Tensors, stage: str, array: NDArray[Any]) -> float:
    positions = sample_positions(stage, int(case["sample_seed"]), array.size, SAMPLES)
    expected = case[f"{stage}_values"]
    return float(np.abs(array.reshape(-1)[positions] - expected).max() / np.abs(expected).max())


def _document(rows: list[str], versions: str) -> str:
    head = "| case | maps, of max | proposals | probabilities | decoded boxes | detections | score | box |"
    return "\n".join(
        [
            "# ONNX Runtime against the original program, row 4, float32 on a CPU",
            "",
            f"Largest differences. {platform.machine()}; {versions}. Made by `python benchmarks/reference_parity.py`.",
            "",
            head,
            "|" + "-|" * (head.count("|") - 1),
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
