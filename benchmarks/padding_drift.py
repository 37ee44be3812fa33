"""What padding a batch to a common size changes in the detections.

    python benchmarks/padding_drift.py [SCENES]    # writes benchmarks/results/padding_drift.md

The bundled detectors on held-out scenes of six sizes, with every picture's own padding and with a common one;
and rows 1 and 4 with seeded parameters on two pictures, each alone and padded to the size
that both need together.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import table
from benchmarks.shared import percentiles, write_page
from pssdet.commands.app import run
from pssdet.commands.artifacts import engine_of, held_out_scenes
from pssdet.console import Progress, steps
from pssdet.images import load
from pssdet.models.matching import detection_rows, match_detections
from pssdet.models.preprocess import as_batch, padded_alike, prepare
from pssdet.models.stages import FLOAT32, HALF
from pssdet.models.zoo import bundled
from pssdet.runtime.batching import Padding, in_batches
from pssdet.runtime.detections import Detections
from pssdet.runtime.detector import Detector
from pssdet.validation.agreement import THRESHOLD, agreement
from pssdet.validation.average_precision import Matched, coco_statistics, match, paired_bootstrap
from pssdet.validation.compare import judge_engine
from pssdet.validation.ground_truth import GroundTruth, read_ground_truth

#: Padding and largest batch; the first is what the others are compared with.
WAYS: tuple[tuple[Padding, int], ...] = (("own", 8), ("common", 2), ("common", 4), ("common", 8))
DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
PICTURES = tuple(DATA / f"{name}.jpg" for name in ("rendered_scene", "rendered_scene_tall"))

TRAINED = (
    "detector", "padding", "batch", "padded further", "more pixels", "AP", "difference [95 %]", "as parity",
    "matched", "unmatched", "score drift", "IoU loss",
)  # fmt: skip
TRAINED_NOTE = (
    "Batches are filled in the order of the data set. Padded further: share of the pictures. AP in percent, its"
    " difference with a paired bootstrap over images, and what the parity report would say of it. Detections"
    f" from a score of {THRESHOLD} on, paired at an IoU of 0.5 or more; drift and loss as p50 / p99 / max. With"
    " own padding the batch changes nothing (`tests/test_batches.py`)."
)
SEEDED = (
    "detector", "picture", "own size", "common size",
    *(f"within {each.score:g} and {each.box:g} px" for each in (FLOAT32, HALF)),
)  # fmt: skip
SEEDED_NOTE = (
    "Detections of each picture alone that are found again in a batch of both. Seeded parameters amplify every"
    " change and their detections mean nothing: this proves that padding matters, it is no loss of accuracy."
)


class Found(NamedTuple):
    """A bundled detector's detections on all scenes, and how they were matched with the objects."""

    detections: list[Detections]
    ap: float
    matched: Matched


def drift(scenes: int = 300) -> None:
    """Measure the drift.

    Args:
        scenes: Held-out scenes for the bundled detectors (default: 300).
    """
    with steps() as progress:
        trained = [line for entry in bundled() for line in _trained(entry.name, scenes, progress)]
        seeded = list(_seeded(progress))
    write_page(
        __file__,
        "Batches padded to a common size",
        f"## The bundled detectors on {scenes} held-out scenes, ONNX Runtime, float32",
        table(TRAINED, trained),
        TRAINED_NOTE,
        "## Seeded parameters, two rendered pictures",
        table(SEEDED, seeded),
        SEEDED_NOTE,
    )


def _trained(name: str, scenes: int, progress: Progress) -> Iterator[list[str]]:
    engine = engine_of(name, "onnxruntime", "fp32", progress)
    annotations, folder = held_out_scenes(scenes, progress)
    with Detector.load(engine) as detector:
        card = detector.card.model
    truth = read_ground_truth(annotations, folder, card.labels)
    shapes = [prepare(load(image.path), card.preprocessing).image.shape for image in truth.images]
    own: Found | None = None
    for padding, batch in WAYS:
        progress(f"{name}, {padding} padding, batches of {batch}")
        found = _find(engine, truth, padding, batch)
        own = own or found
        ap = f"{100 * found.ap:.2f}"
        yield [name, padding, str(batch), *_grown(shapes, padding, batch), ap, *_against(own, found)]


def _find(engine: Path, truth: GroundTruth, padding: Padding, batch: int) -> Found:
    with Detector.load(engine, batch, padding) as detector:
        detections = detector([image.path for image in truth.images])
    ids = [image.id for image in truth.images]
    each = (found.to_coco_results(id_, truth.category_ids) for id_, found in zip(ids, detections, strict=True))
    results = [entry for of_one in each for entry in of_one]
    return Found(detections, coco_statistics(truth, results, ids)["AP"], match(truth, results, ids))


def _grown(shapes: Sequence[tuple[int, ...]], padding: Padding, batch: int) -> list[str]:
    """Share of pictures that get more padding than their own, and how many more network pixels that makes."""
    more, pixels, own = 0, 0, sum(height * width for _, height, width in shapes)
    for group in in_batches(shapes, tuple, batch, padding):
        height, width = (max(shape[axis] for _, shape in group) for axis in (1, 2))
        more += sum(shape[1:] != (height, width) for _, shape in group)
        pixels += len(group) * height * width
    return [f"{more / len(shapes):.0%}", f"{pixels / own - 1:.0%}"]


def _against(own: Found, found: Found) -> list[str]:
    """Difference in AP and the parity report's verdict on it, matched detections, drift of scores and boxes."""
    if found is own:
        return ["-"] * 6
    bootstrap = paired_bootstrap(own.matched, found.matched)
    same = agreement(own.detections, found.detections)
    verdict = judge_engine(own.ap, bootstrap, same, "fp32", len(own.detections)).verdict
    low, high = (100 * bound for bound in bootstrap.ci95)
    return [
        f"{100 * bootstrap.delta:+.2f} [{low:+.2f}, {high:+.2f}]",
        verdict,
        f"{same.matched_share:.1%}",
        f"{same.unmatched_reference} lost, {same.unmatched_candidate} new",
        percentiles(same.score_drift),
        percentiles(same.iou_loss),
    ]


def _seeded(progress: Progress) -> Iterator[list[str]]:
    from row_models import row_model

    for row in (1, 4):
        progress(f"row{row}, each picture alone and padded")
        with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
            model = row_model(row, Path(folder))
            inputs = [prepare(load(picture), model.entry.preprocessing) for picture in PICTURES]
            together = model.run_onnx(as_batch(padded_alike(inputs)))
            for index, (picture, alone) in enumerate(zip(PICTURES, inputs, strict=True)):
                expected = detection_rows(model.run_onnx(as_batch([alone])), 0)
                obtained = detection_rows(together, index)
                sizes = [
                    "x".join(map(str, each.image.shape[1:])) for each in (alone, padded_alike(inputs)[index])
                ]
                matched = [
                    match_detections(obtained, expected, each.score, each.box) for each in (FLOAT32, HALF)
                ]
                yield [
                    f"row{row}",
                    picture.stem,
                    *sizes,
                    *(f"{each.matched} of {each.expected}" for each in matched),
                ]


if __name__ == "__main__":
    run(drift)
