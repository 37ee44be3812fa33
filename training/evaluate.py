"""Measure the AP of a trained checkpoint on held-out scenes, with Paddle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pssdet.commands.app import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.zoo import ZooEntry
    from pssdet.runtime.detections import Detections
    from pssdet.training.samples import Annotated
    from pssdet.validation.ground_truth import GroundTruth

_BATCH = 8


def evaluate(
    *,
    model: str = "mini_faster",
    weights: str = "",
    scenes: Path = Path("artifacts/scenes/heldout"),
    count: int = 1000,
) -> None:
    """Measure the AP of a bundled detector on held-out scenes, with Paddle.

    Args:
        model: mini_faster or mini_cascade.
        weights: Checkpoint file (default: the bundled one).
        scenes: Folder of the held-out scenes; rendered if they are not there.
        count: Held-out scenes.
    """
    from pssdet.console import OUT
    from pssdet.images import load
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes, with_parameters
    from pssdet.models.parameters import load_parameters
    from pssdet.models.zoo import find
    from pssdet.training.samples import annotated_pictures
    from pssdet.validation.ground_truth import read_ground_truth
    from pssdet.validation.scenes.dataset import ensure_dataset

    entry = find(model)
    detector = TwoStageDetector(entry.architecture, entry.numerics)
    parameters, _ = load_parameters(weights or entry.checkpoint, parameter_shapes(detector))
    truth = read_ground_truth(ensure_dataset(scenes, "heldout", count), scenes, entry.labels, entry.name)
    found = detect_all(with_parameters(detector, parameters), entry, annotated_pictures(truth), load)
    for name, value in average_precisions(truth, found).items():
        OUT.print(f"{name} {value:.4f}")


def detect_all(
    model: TwoStageDetector,
    entry: ZooEntry,
    samples: list[Annotated],
    read: Callable[[Path], NDArray[np.uint8]],
) -> list[Detections]:
    """What the detector finds in every picture, in their order.

    Args:
        read: gives a file's picture, uint8 RGB [H, W, 3]; ``images.load`` unless pictures are altered.
    """
    from pssdet.models.network.reference_run import run_reference
    from pssdet.models.preprocess import as_batch, prepare
    from pssdet.runtime.detections import Detections
    from pssdet.training.samples import group_by_size

    found: dict[int, Detections] = {}
    for group in group_by_size(samples, entry.preprocessing):
        for start in range(0, len(group), _BATCH):
            indices = group[start : start + _BATCH]
            inputs = as_batch([prepare(read(samples[index].path), entry.preprocessing) for index in indices])
            outputs = run_reference(model, inputs)
            for row, index in enumerate(indices):
                count, (height, width) = int(outputs["count"][row]), samples[index].size
                boxes, scores, labels = (outputs[name][row, :count] for name in ("boxes", "scores", "labels"))
                found[index] = Detections(
                    boxes, scores, labels, entry.labels, width, height, entry.numerics.pixel_offset
                )
    return [found[index] for index in range(len(samples))]


def average_precisions(truth: GroundTruth, found: Sequence[Detections]) -> dict[str, float]:
    """AP over overlaps 0.50:0.95, at 0.50, 0.75, by size (APs, APm, APl), and of each category.

    Raises:
        EnvironmentMissing: the package that computes them is not installed.
    """
    from pssdet.validation.average_precision import coco_results, coco_statistics

    ids = [image.id for image in truth.images]
    results = coco_results(truth, truth.images, found)
    stats = coco_statistics(truth, results, ids)
    values = {name: value for name, value in stats.items() if name.startswith("AP")}
    for category in truth.raw["categories"]:
        objects = [each for each in truth.raw["annotations"] if each["category_id"] == category["id"]]
        alone = truth._replace(
            category_ids=(category["id"],), raw={**truth.raw, "categories": [category], "annotations": objects}
        )
        of_category = [each for each in results if each["category_id"] == category["id"]]
        values[f"AP {category['name']}"] = coco_statistics(alone, of_category, ids)["AP"]
    return values


if __name__ == "__main__":
    run(evaluate)
