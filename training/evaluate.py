"""Measure the AP of a trained checkpoint on held-out scenes, with Paddle and pycocotools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pssdet.cli import run

if TYPE_CHECKING:
    from pssdet.models.detector import TwoStageDetector
    from pssdet.models.reader import Preprocessing
    from pssdet.training.samples import Annotated

_BATCH = 8


def evaluate(
    *,
    model: str = "mini_faster",
    weights: str = "",
    scenes: Path = Path("artifacts/scenes/heldout"),
    count: int = 1000,
) -> None:
    """Measure the AP of a bundled detector on held-out scenes, with Paddle and pycocotools.

    Args:
        model: mini_faster or mini_cascade.
        weights: Checkpoint file (default: the bundled one).
        scenes: Folder of the held-out scenes; rendered if they are not there.
        count: Held-out scenes.
    """
    from pssdet.console import OUT
    from pssdet.models.detector import TwoStageDetector
    from pssdet.models.parameters import load_parameters
    from pssdet.models.reference_run import build_detector, parameter_shapes
    from pssdet.models.zoo import find
    from pssdet.training.samples import read_annotations
    from pssdet.validation.scene_files import ensure_dataset

    entry = find(model)
    detector = TwoStageDetector(entry.architecture, entry.numerics)
    parameters, _ = load_parameters(weights or entry.checkpoint, parameter_shapes(detector))
    annotations = ensure_dataset(scenes, "heldout", count)
    results = list(detect_all(build_detector(detector, parameters), entry.preprocessing, read_annotations(annotations)))
    for name, value in coco_statistics(annotations, results).items():
        OUT.print(f"{name} {value:.4f}")


def detect_all(
    model: TwoStageDetector, preprocessing: Preprocessing, samples: list[Annotated]
) -> Iterator[dict[str, Any]]:
    """COCO results of all pictures; image ids and category ids are positions plus one."""
    from pssdet.models.preprocess import as_batch, prepare
    from pssdet.models.reference_run import run_reference
    from pssdet.runtime.images import load
    from pssdet.training.samples import group_by_size

    for group in group_by_size(samples, preprocessing):
        for start in range(0, len(group), _BATCH):
            indices = group[start : start + _BATCH]
            inputs = as_batch([prepare(load(samples[index].path), preprocessing) for index in indices])
            outputs = run_reference(model, inputs)
            for row, index in enumerate(indices):
                one = {name: value[row] for name, value in outputs.items() if name in _NAMES}
                yield from _results(index + 1, one, model.numerics.pixel_offset)


_NAMES = ("boxes", "scores", "labels", "count")


def _results(image_id: int, outputs: dict[str, Any], offset: int) -> Iterator[dict[str, Any]]:
    for number in range(int(outputs["count"])):
        x1, y1, x2, y2 = map(float, outputs["boxes"][number])
        yield {
            "image_id": image_id,
            "category_id": int(outputs["labels"][number]) + 1,
            "bbox": [x1, y1, x2 - x1 + offset, y2 - y1 + offset],
            "score": float(outputs["scores"][number]),
        }


def coco_statistics(annotations: Path, results: list[dict[str, Any]]) -> dict[str, float]:
    """AP of COCO results by pycocotools: over overlaps 0.50:0.95, at 0.50, 0.75, by size, and per category.

    Raises:
        EnvironmentMissing: pycocotools is not installed.
    """
    import contextlib
    import io

    from pssdet.errors import EnvironmentMissing

    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise EnvironmentMissing("pycocotools is not installed; pip install pycocotools") from error
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = COCOeval(truth, truth.loadRes(results), "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    names = ("AP", "AP50", "AP75", "AP small", "AP medium", "AP large")
    per_class = found.eval["precision"][:, :, :, 0, 2].mean(axis=(0, 1))
    categories = [f"AP {each['name']}" for each in truth.loadCats(truth.getCatIds())]
    return dict(zip((*names, *categories), (*found.stats[:6], *per_class), strict=True))


if __name__ == "__main__":
    run(evaluate)
