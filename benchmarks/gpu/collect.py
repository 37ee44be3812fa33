"""The results of a GPU host, judged at home: AP and all goals.

    python benchmarks/gpu/collect.py OUT [--bundles artifacts/gpu] [--results benchmarks/results]

OUT is the folder that the benchmarks wrote to (--output), copied back. Its .json and .md files are
copied to the results; AP of ``mini`` and its verdict against Paddle are computed from the detections;
and ``tensorrt_<gpu>.md`` says of every goal whether it is met. Needs what ``make venv`` installs.
Exit code: 0 done, 1 a goal was missed, 2 usage or nothing to collect, 3 a package is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

from benchmarks.documents import document, table
from benchmarks.gpu.bundle import OUTPUTS, Bundle, Tensors
from benchmarks.gpu.engine_report import ACCURACY_CASE, SPEED_CASE, goals
from benchmarks.gpu.environment import ROOT
from benchmarks.gpu.pack import SCENES
from benchmarks.gpu.suite import Goal, Results, add_bundles_option, exit_code, goal_table, slug
from pssdet.errors import BadInput, GateFailed
from pssdet.files import read_arrays, write_atomically

CASES = ("kernels", "mini", "row4", "row1", "row2")  # in their order, by their names in files
PRECISIONS = ("fp32", "fp16")
REFERENCE = "paddle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect; the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: collect(options.out, options.bundles, options.results, options.artifacts))


def collect(out: Path, bundles: Path, results: Path, artifacts: Path) -> None:
    """Copy the figures, judge the detections, write the table of goals.

    Raises:
        BadInput: there are no results, or the detections are not of this bundle.
        EnvironmentMissing: a package is missing.
        GateFailed: a goal was missed.
    """
    by_gpu: dict[str, dict[str, Results]] = {}
    for case, stored in _stored(out):
        by_gpu.setdefault(stored.identity["gpu"], {})[case] = stored
    if not by_gpu:
        raise BadInput(
            f"{out} has no results of {', '.join(CASES)}; name the folder that came back from the GPU host"
        )
    missed: list[str] = []
    for gpu, by_case in sorted(by_gpu.items()):
        judged = _judge_mini(by_case.get(ACCURACY_CASE), out, bundles, artifacts)
        found = goals(by_case.get(SPEED_CASE), SPEED_CASE)
        found += goals(by_case.get(ACCURACY_CASE), ACCURACY_CASE, judged.get("fp16"))
        _copy(out, by_case, results)
        path = results / f"tensorrt_{slug(gpu)}"
        content = {"gpu": gpu, "goals": [asdict(goal) for goal in found], "ap": judged}
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_atomically(path.with_suffix(".json"), text.encode())
        write_atomically(path.with_suffix(".md"), render(gpu, by_case, found, judged).encode())
        print(f"wrote {path}.md")
        missed += [f"{goal.text}: {goal.measured}" for goal in found if goal.verdict == "missed"]
    if missed:
        raise GateFailed(f"{len(missed)} goals missed, the first: {missed[0]}")


def render(gpu: str, by_case: Mapping[str, Results], found: list[Goal], judged: Mapping[str, Any]) -> str:
    """The table of goals, AP, and links to the other results."""
    return document(
        f"# TensorRT on {gpu}",
        "## Goals",
        goal_table(found),
        "## AP of the small detector",
        _ap_lines(judged) if judged else "not measured",
        "## Results",
        [f"- {case}: {_link(by_case[case]) if case in by_case else 'not measured'}" for case in CASES],
    )


def _link(stored: Results) -> str:
    return f"[{stored.path.stem}.md]({stored.path.stem}.md), {len(stored.steps)} steps"


def _ap_lines(judged: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            precision,
            f"{100 * each['ap']:.2f}",
            f"{100 * each['reference_ap']:.2f}",
            f"{100 * each['delta']:+.3f}",
            "[{:+.3f}, {:+.3f}]".format(*(100 * end for end in each["ci90"])),
            f"{100 * each['margin']:.3f}",
            each["verdict"],
        )
        for precision, each in judged.items()
    ]
    note = f"On {SCENES} rendered scenes; the interval is a paired bootstrap's over images."
    head = ("engine", "AP", "AP in Paddle", "difference", "90 % interval", "margin", "verdict")
    return [*table(head, rows), "", note]


def judge(outputs: Tensors, reference: Tensors, artifacts: Path, precision: Any) -> dict[str, Any]:
    """AP of an engine's ``outputs`` and of the ``reference``, all scenes in their order, and the verdict."""
    from pssdet.models.zoo import find
    from pssdet.validation.agreement import agreement
    from pssdet.validation.average_precision import coco_results, coco_statistics, match, paired_bootstrap
    from pssdet.validation.compare import judge_engine, margin
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
        "ci95": list(bootstrap.ci95),
        "margin": margin(precision, statistics[0]["AP"]),
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "statistics": statistics[1],
        "images": len(ids),
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


def _judge_mini(stored: Results | None, out: Path, bundles: Path, artifacts: Path) -> dict[str, Any]:
    """By precision; empty without detections of the small detector's engines, or of a quick run."""
    if stored is None or stored.identity["quick"]:
        return {}
    bundle = Bundle(bundles / "mini")
    if bundle.identity() != stored.identity["bundle"]:
        raise BadInput(
            f"{bundles / 'mini'} is not the folder that {stored.path} was made from; name that one: --bundles"
        )
    judged = {}
    for precision in PRECISIONS:
        path = out / f"{stored.path.stem}_{precision}.npz"
        if stored.result(f"agreement {precision}") is not None and path.is_file():
            outputs = read_arrays(path, OUTPUTS)
            judged[precision] = judge(outputs, bundle.expected(REFERENCE), artifacts, precision)
    return judged


def _stored(out: Path) -> Iterator[tuple[str, Results]]:
    """Each case's results: the full runs, else the quick ones."""
    for case in CASES:
        read = [Results.read(path) for path in sorted(out.glob(f"{case}_*.json"))]
        found = [each for each in read if each is not None and "gpu" in each.identity]
        full = [each for each in found if not each.identity["quick"]]
        yield from ((case, each) for each in full or found)


def _copy(out: Path, by_case: Mapping[str, Results], results: Path) -> None:
    results.mkdir(parents=True, exist_ok=True)
    for stored in by_case.values():
        for path in (stored.path, stored.path.with_suffix(".md")):
            if path.is_file() and out.resolve() != results.resolve():
                shutil.copyfile(path, results / path.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Judge the results of a GPU host at home.")
    artifacts, folder = ROOT / "artifacts", ROOT / "benchmarks" / "results"
    parser.add_argument("out", type=Path, help="the folder that came back")
    add_bundles_option(parser)
    parser.add_argument("--results", type=Path, default=folder, help="where results are kept (%(default)s)")
    parser.add_argument("--artifacts", type=Path, default=artifacts, help="exports and scenes (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
