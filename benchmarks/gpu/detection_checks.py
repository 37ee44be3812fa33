"""Results of the detection kernels against those of the ONNX functions: rows as sets, features by value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import Tensors

#: Share of the rows that must have a partner: an overlap that is the threshold but for its last bit decides either way.
LEAST_SHARE = 0.98
#: A partner's box is so near, pixels; its score so near.
BOX, SCORE = 0.05, 1e-5
#: Features, relative to the largest: half precision's own rounding is 5e-4.
FEATURES = {"fp32": 1e-4, "fp16": 2e-3}

Row = dict[str, Any]


def check_rows(expected: Tensors, obtained: Tensors, boxes: str) -> Row:
    """Boxes with scores, and labels where there are any, image by image, as sets.

    boxes: name of the output that holds them.
    """
    failures, rows, matched, worst = [], 0, 0, 0.0
    if not np.array_equal(expected["count"], obtained["count"]):
        failures.append(f"counts are {obtained['count'].tolist()} instead of {expected['count'].tolist()}")
    for image, count in enumerate(expected["count"].tolist()):
        ours = min(int(obtained["count"][image]), obtained[boxes].shape[1])
        wanted, found = (
            _rows({name: values[image, :length] for name, values in tensors.items() if name != "count"}, boxes)
            for tensors, length in ((expected, count), (obtained, max(ours, 0)))
        )
        if not all(np.isfinite(part).all() for part in found):
            failures.append(f"image {image} has values that are not finite, or were not written")
            continue
        if (np.diff(found[1]) > 0).any():
            failures.append(f"the scores of image {image} do not fall")
        distances = _matched(wanted, found)
        rows, matched = rows + count, matched + len(distances)
        worst = max([worst, *distances])
    share = matched / rows if rows else 1.0
    if share < LEAST_SHARE:
        failures.append(f"{matched} of {rows} rows found, {LEAST_SHARE:.0%} must be")
    return {"rows": rows, "matched": matched, "difference": worst, "limit": BOX, "failures": failures}


def check_features(expected: NDArray[Any], obtained: NDArray[Any], kind: str) -> Row:
    """Region features by value; a region on the border of two levels may come from either."""
    limit, failures = FEATURES[kind], []
    values = obtained.astype(np.float64)
    if not np.isfinite(values).all():
        failures.append("values that are not finite, or were not written")
        values = np.nan_to_num(values)
    differences = np.abs(values - expected).max(axis=(1, 2, 3)) / max(float(np.abs(expected).max()), 1e-30)
    good = differences <= limit
    if good.mean() < LEAST_SHARE:
        failures.append(f"{int(good.sum())} of {len(good)} regions within {limit:.0e}, {LEAST_SHARE:.0%} must be")
    worst = float(differences[good].max(initial=0.0))
    return {"rows": len(good), "matched": int(good.sum()), "difference": worst, "limit": limit, "failures": failures}


def same(first: Tensors, second: Tensors) -> bool:
    """Whether two runs agree to the bit."""
    return all(first[name].tobytes() == second[name].tobytes() for name in first)


def _rows(tensors: Tensors, boxes: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    labels = tensors.get("labels", np.zeros(len(tensors["scores"]), np.int32))
    return tensors[boxes].astype(np.float64), tensors["scores"].astype(np.float64), labels


def _matched(wanted: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]) -> list[float]:
    """The distances in pixels of the rows that have a partner: each partner once, best rows first."""
    free = np.ones(len(found[1]), np.bool_)
    distances = []
    for box, score, label in zip(*wanted, strict=True):
        near = np.abs(found[0] - box).max(axis=1, initial=0.0)
        possible = (
            free & (near <= BOX) & (np.abs(found[1] - score) <= SCORE * max(1.0, abs(score))) & (found[2] == label)
        )
        if possible.any():
            partner = int(np.where(possible, near, np.inf).argmin())
            free[partner] = False
            distances.append(float(near[partner]))
    return distances
