"""The results of a GPU host, judged at home: AP of the small detector's engines, and all goals in one table.

    python benchmarks/gpu/collect.py OUT [--bundles artifacts/gpu] [--results benchmarks/results]

OUT is the folder that the benchmarks wrote to (--output) and that was copied back. Its .json and .md files are copied
to the results; AP of ``mini`` and its verdict against Paddle are computed from the detections and the scenes'
annotations; and ``tensorrt_<gpu>.md`` says of every goal whether it is met. Needs what ``make venv`` installs. Exit
code: 0 done, 1 a goal was missed, 2 usage or nothing to collect, 3 a package is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Instead of this script's own folder, whose modules would hide others of the same names.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "src")]

import numpy as np

from benchmarks.documents import document, table
from benchmarks.gpu.bundle import OUTPUTS, Bundle, Tensors
from benchmarks.gpu.command import add_bundles_option, exit_code
from benchmarks.gpu.engine_goals import ACCURACY_CASE, SPEED_CASE, goals
from benchmarks.gpu.environment import ROOT
from benchmarks.gpu.pack import SCENES
from benchmarks.gpu.report_parts import goal_table
from benchmarks.gpu.results import Results, slug
from benchmarks.gpu.suite import Goal
from pssdet.errors import BadInput, GateFailed
from pssdet.files import write_atomically

#: The benchmarks in their order, by their names in files.
CASES = ("kernels", "mini", "row4", "row1", "row2")
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
    gpus = sorted({stored.identity["gpu"] for case in CASES for stored in _stored(out, case)})
    if not gpus:
        raise BadInput(f"{out} has no results of {', '.join(CASES)}; name the folder that came back from the GPU host")
    missed: list[str] = []
    for gpu in gpus:
        by_case = {case: each for case in CASES for each in _stored(out, case) if each.identity["gpu"] == gpu}
        judged = _judge_mini(by_case.get("mini"), out, bundles, artifacts)
        found = [
            goal for case in (SPEED_CASE, ACCURACY_CASE) for goal in goals(by_case.get(case), case, judged.get("fp16"))
        ]
        _copy(out, by_case, results)
        path = results / f"tensorrt_{slug(gpu)}"
        content = {"gpu": gpu, "goals": [asdict(goal) for goal in found], "ap": judged}
        write_atomically(path.with_suffix(".json"), (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
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
        [f"- {case}: {_where(by_case.get(case))}" for case in CASES],
    )


def _where(stored: Results | None) -> str:
    if stored is None:
        return "not measured"
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
    """AP of an engine and of the reference on the scenes, and the verdict.

    Args:
        outputs, reference: a model's outputs for all scenes, in their order.
    """
    from pssdet.models.zoo import find
    from pssdet.validation.average_precision import coco_statistics, match, paired_bootstrap
    from pssdet.validation.compare import judge as judge_bootstrap
    from pssdet.validation.compare import margin
    from pssdet.validation.ground_truth import read_ground_truth
    from pssdet.validation.scenes.dataset import ensure_dataset

    folder = artifacts / "scenes" / f"heldout-{SCENES}"
    labels = find("mini_faster").labels
    truth = read_ground_truth(ensure_dataset(folder, "heldout", SCENES), folder, labels)
    ids = [image.id for image in sorted(truth.images, key=lambda image: image.name)][: len(outputs["count"])]
    entries = [_coco(tensors, ids, truth.category_ids) for tensors in (reference, outputs)]
    statistics = [coco_statistics(truth, each, ids) for each in entries]
    bootstrap = paired_bootstrap(match(truth, entries[0], ids), match(truth, entries[1], ids))
    allowed = margin(precision, statistics[0]["AP"])
    verdict = judge_bootstrap(statistics[0]["AP"], bootstrap, allowed, len(ids))
    return {
        "ap": statistics[1]["AP"],
        "reference_ap": statistics[0]["AP"],
        "delta": bootstrap.delta,
        "ci90": list(bootstrap.ci90),
        "ci95": list(bootstrap.ci95),
        "margin": allowed,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "statistics": statistics[1],
        "images": len(ids),
    }


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
            with np.load(path) as arrays:
                outputs = {name: arrays[name] for name in OUTPUTS}
            judged[precision] = judge(outputs, bundle.expected(REFERENCE), artifacts, precision)
    return judged


def _coco(tensors: Tensors, ids: Sequence[int], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """A COCO results file's entries."""
    entries = []
    for index, image_id in enumerate(ids):
        for number in range(int(tensors["count"][index])):
            x1, y1, x2, y2 = tensors["boxes"][index, number].astype(np.float64).tolist()
            label, score = int(tensors["labels"][index, number]), float(tensors["scores"][index, number])
            bbox = [x1, y1, x2 - x1, y2 - y1]
            entries.append({"image_id": image_id, "category_id": category_ids[label], "bbox": bbox, "score": score})
    return entries


def _stored(out: Path, case: str) -> list[Results]:
    """The results of a case: the full runs, else the quick ones."""
    read = [Results.read(path) for path in sorted(out.glob(f"{case}_*.json"))]
    found = [each for each in read if each is not None and "gpu" in each.identity]
    return [each for each in found if not each.identity["quick"]] or found


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
