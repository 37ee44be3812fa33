"""The results of a GPU host, judged at home: AP and all goals.

    python benchmarks/gpu/collect.py OUT [--bundles artifacts/gpu] [--results benchmarks/results]

OUT is the folder that gpu-check or run.py wrote to, copied back. AP of the scenes and its verdict against
Paddle are computed from the detections in it; gpu_<gpu>.json and .md say what was measured, and of every
goal whether it is met. Needs what make venv installs.
Exit code: 0 done, 1 a goal was missed, 2 usage or nothing to collect.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.documents import document, table
from benchmarks.gpu.goals import goal_table, goals
from benchmarks.gpu.run import RESULTS as BENCHMARKS
from benchmarks.gpu.run import ROOT
from benchmarks.gpu.steps import STEPS
from pssdet.errors import BadInput, GateFailed, PssDetError
from pssdet.files import read_arrays, write_atomically
from pssdet.validation.gpu_check.bundle import OUTPUTS, Bundle, Tensors
from pssdet.validation.gpu_check.command import RESULTS as CHECK
from pssdet.validation.gpu_check.pack import SCENES
from pssdet.validation.gpu_check.plan import STEPS as CHECKED
from pssdet.validation.gpu_check.report import markdown
from pssdet.validation.gpu_check.runner import Results

PRECISIONS = {"fp16": "scenes", "fp32": "scenes-fp32"}  # with the steps that wrote the detections
REFERENCE = "paddle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        collect(options.out, options.bundles, options.results, options.artifacts)
    except PssDetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def collect(out: Path, bundles: Path, target: Path, artifacts: Path) -> None:
    """Judge the detections and the goals; write the figures and the page.

    Raises:
        BadInput: there are no results, or the detections are not of this bundle.
        GateFailed: a goal was missed.
    """
    results = Results.read(out / BENCHMARKS) or Results.read(out / CHECK)
    if results is None:
        raise BadInput(f"{out} has neither {BENCHMARKS} nor {CHECK}; name the folder that came back")
    judged = _judged(results, out, bundles, artifacts)
    found = goals(results, judged.get("fp16"))
    gpu = _gpu(results, out)
    # 'NVIDIA H200' is h200.
    name = re.sub(r"[^a-z0-9]+", "_", gpu.lower()).strip("_").removeprefix("nvidia_")
    path = target / f"gpu_{name}"
    content = {"goals": [asdict(goal) for goal in found], "ap": judged, "results": asdict(results)}
    write_atomically(
        path.with_suffix(".json"), (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    )
    page = document(
        "# Goals",
        goal_table(found),
        "## AP of the small detector",
        _ap_lines(judged) if judged else "not measured",
        markdown(results, (*CHECKED, *STEPS)).rstrip(),
    )
    write_atomically(path.with_suffix(".md"), page.encode())
    print(f"wrote {path}.md")
    if missed := [goal for goal in found if goal.verdict == "missed"]:
        raise GateFailed(f"{len(missed)} goals missed, the first: {missed[0].text}: {missed[0].measured}")


def _ap_lines(judged: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            precision,
            f"{100 * each['ap']:.2f}",
            f"{100 * each['reference_ap']:.2f}",
            f"{100 * each['delta']:+.3f}",
            "[{:+.3f}, {:+.3f}]".format(*(100 * end for end in each["ci90"])),
            each["verdict"],
        )
        for precision, each in judged.items()
    ]
    note = f"On {SCENES} rendered scenes; the interval is a paired bootstrap's over images."
    head = ("engine", "AP", "AP in Paddle", "difference", "90 % interval", "verdict")
    return [*table(head, rows), "", note]


def judge(outputs: Tensors, reference: Tensors, artifacts: Path, precision: Any) -> dict[str, Any]:
    """AP of an engine's ``outputs`` and of the ``reference``, all scenes in their order, and the verdict."""
    from pssdet.models.zoo import find
    from pssdet.validation.agreement import agreement
    from pssdet.validation.average_precision import coco_results, coco_statistics, match, paired_bootstrap
    from pssdet.validation.compare import judge_engine
    from pssdet.validation.ground_truth import read_ground_truth
    from pssdet.validation.scenes.dataset import ensure_dataset

    folder = artifacts / "scenes" / f"heldout-{SCENES}"
    labels = find("mini_faster").labels
    truth = read_ground_truth(ensure_dataset(folder, "heldout", SCENES), folder, labels)
    images = sorted(truth.images, key=lambda image: image.name)[: len(outputs["count"])]
    ids = [image.id for image in images]
    found = [_detections(images, each, labels) for each in (reference, outputs)]
    entries = [coco_results(truth, images, each) for each in found]
    statistics = [coco_statistics(truth, each, ids) for each in entries]
    bootstrap = paired_bootstrap(match(truth, entries[0], ids), match(truth, entries[1], ids))
    verdict = judge_engine(statistics[0]["AP"], bootstrap, agreement(found[0], found[1]), precision, len(ids))
    return {
        "ap": statistics[1]["AP"],
        "reference_ap": statistics[0]["AP"],
        "delta": bootstrap.delta,
        "ci90": list(bootstrap.ci90),
        "verdict": verdict.verdict,
        "reason": verdict.reason,
    }


def _detections(images: Sequence[Any], tensors: Tensors, names: tuple[str, ...]) -> list[Any]:
    """Detections of each image; boxes are as wide as the distance of their corners."""
    from pssdet.runtime.detections import Detections

    detections = []
    for index, image in enumerate(images):
        count = int(tensors["count"][index])
        boxes, scores, found = (tensors[name][index, :count] for name in ("boxes", "scores", "labels"))
        detections.append(Detections(boxes, scores, found, names, image.width, image.height, pixel_offset=0))
    return detections


def _gpu(results: Results, out: Path) -> str:
    driver = results.outcomes.get("driver")
    identity = driver.figures.get("identity") if driver is not None else None
    if not identity:
        raise BadInput(f"in the results of {out} no GPU was found; run the check on a machine with one")
    return str(identity["GPU"])


def _judged(results: Results, out: Path, bundles: Path, artifacts: Path) -> dict[str, Any]:
    """By precision; empty where the scenes were not run."""
    judged = {}
    for precision, step in PRECISIONS.items():
        path, outcome = out / "work" / f"scenes-{precision}.npz", results.outcomes.get(step)
        if outcome is None or not outcome.figures or not path.is_file():
            continue
        bundle = Bundle(bundles / "scenes")
        if outcome.figures["bundle"] != bundle.identity()[:16]:
            raise BadInput(f"{bundles / 'scenes'} is not what {out} was made with; name it: --bundles")
        outputs = read_arrays(path, OUTPUTS)
        judged[precision] = judge(outputs, bundle.expected(REFERENCE), artifacts, precision)
    return judged


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Judge the results of a GPU host at home.")
    artifacts, folder = ROOT / "artifacts", ROOT / "benchmarks" / "results"
    parser.add_argument("out", type=Path, help="the folder that came back")
    parser.add_argument("--bundles", type=Path, default=artifacts / "gpu", help="the bundles (%(default)s)")
    parser.add_argument("--results", type=Path, default=folder, help="where results are kept (%(default)s)")
    parser.add_argument("--artifacts", type=Path, default=artifacts, help="exports and scenes (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
