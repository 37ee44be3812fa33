"""What int8 costs the bundled detectors, for each way to make ranges of the values seen in calibration.

    python benchmarks/int8_calibration.py [--scenes N]    # writes benchmarks/results/int8_calibration.md

Calibrated on scenes of the training's split, judged on held-out ones, by the parity report's own method against
float32 in ONNX Runtime.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import onnx

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import table
from benchmarks.shared import percentiles, write_page
from pssdet.commands.app import run
from pssdet.commands.artifacts import (
    SCENES,
    bundled_scenes,
    engine_of,
    held_out_scenes,
    model_folder,
    render_scenes,
)
from pssdet.console import Progress, steps
from pssdet.engines.precision.calibration import METHODS
from pssdet.engines.precision.quantise import METHOD, quantised_model
from pssdet.engines.precision.recipe import recipe_for
from pssdet.models.card import ENGINE_CARD, MODEL_ONNX, FileRecord, encode, read_engine_card
from pssdet.models.zoo import bundled
from pssdet.validation.agreement import unmatched_share
from pssdet.validation.assemble import assemble
from pssdet.validation.parity_report.schema import Report

NOTE = (
    "AP in percent; its difference to float32 with a paired bootstrap over images; the margin is 1 % of the AP."
    " Detections from a score of 0.3 on: the share without a partner in the other model, and how far the scores"
    " of the others differ."
)
HEAD = (
    "detector",
    "ranges",
    "AP",
    "difference [90 %]",
    "margin",
    "verdict",
    "without a partner",
    "mean shift of scores",
    "score drift p50 / p99 / max",
)


def measure(scenes: int = 300) -> None:
    """Measure the methods.

    Args:
        scenes: Held-out scenes (default: 300).
    """
    with steps() as progress, tempfile.TemporaryDirectory(prefix="pssdet-int8-") as folder:
        engines = [each for entry in bundled() for each in _engines(entry.name, Path(folder), progress)]
        annotations, images = held_out_scenes(scenes, progress)
        report = assemble(engines, annotations, images, progress)
    calibrated = (
        f"Calibrated on {SCENES} scenes of the training's split, judged on {scenes} held-out scenes, in ONNX"
        f" Runtime. Engines are built with {METHOD}."
    )
    write_page(__file__, "int8 by calibration method", calibrated, table(HEAD, _rows(report)), NOTE)


def _engines(name: str, target: Path, progress: Progress) -> Iterator[Path]:
    """The float32 engine of a bundled detector, and an int8 engine for each method, unproved."""
    reference = engine_of(name, "onnxruntime", "fp32", progress)
    yield reference
    card = read_engine_card(reference)
    model = model_folder(name, progress)
    scenes = bundled_scenes(name)
    assert scenes is not None  # noqa: S101 - what is bundled has scenes
    render_scenes(scenes, progress)
    exported = onnx.load(model / MODEL_ONNX)
    recipe = recipe_for(name, exported.graph)
    for method in METHODS:
        folder = target / name / method
        folder.mkdir(parents=True)
        made = quantised_model(exported, model, card.model, scenes, progress, recipe=recipe, method=method)
        onnx.save(made.model, folder / MODEL_ONNX)
        files = (FileRecord.of(folder / MODEL_ONNX),)
        quantised = msgspec.structs.replace(
            card, precision="int8", emulated=True, files=files, verification=(), probe=None
        )
        (folder / ENGINE_CARD).write_bytes(encode(quantised))
        yield folder


def _rows(report: Report) -> Iterator[list[str]]:
    for each in report.engines:
        if each.precision == "fp32":
            yield [each.model, "float32", f"{100 * each.stats['AP']:.2f}", *["-"] * 6]
            continue
        found = next(one for one in report.comparisons if (one.model, one.candidate) == (each.model, each.name))
        low, high = (100 * bound for bound in found.ci90)
        same = found.agreement
        yield [
            each.model,
            each.name,
            f"{100 * each.stats['AP']:.2f}" if each.stats else "-",
            f"{100 * found.delta_ap:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{100 * found.margin:.3f}",
            found.verdict,
            f"{unmatched_share(same):.2%}" if same else "-",
            f"{same.score_shift:+.4f}" if same else "-",
            percentiles(same.score_drift) if same else "-",
        ]


if __name__ == "__main__":
    run(measure)
