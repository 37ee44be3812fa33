"""Time of preprocessing on one core, against the original programs' plain steps; for ``throughput.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import thread_time

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import table

SIZES = ((480, 640), (1080, 1920))
ROUNDS = 40
#: Most milliseconds for a 640x480 picture of row 4, without and with decoding its JPEG.
ROW4_MS = (0.75, 2.0)
#: How many times faster than the plain steps rows 1 to 3 must be.
FASTER = 2.0

HEAD = (
    "row", "picture", "network input", "plain steps, ms", "ours, ms", "times faster", "with decoding, ms",
    "goals",
)  # fmt: skip
MEANING = (
    "From pixels, or from a JPEG's bytes, to the engine's input, on one core (`cv2.setNumThreads(1)`): median"
    f" processor time of {ROUNDS} rounds, in which the ways take turns, each after a time that does not count."
    " The plain steps are those of the original programs (`tests/plain_steps.py`);"
    " `tests/models/test_preprocess.py` holds ours to their values. The picture is the bundled scene at that"
    " size, with noise, as a JPEG of quality 90."
)


def preprocessing_table() -> list[str]:
    """The lines of the table."""
    return table(HEAD, [_row(row, size) for row in (1, 2, 3, 4) for size in SIZES])


def _row(row: int, size: tuple[int, int]) -> list[str]:
    import cv2
    import numpy as np
    from plain_steps import plain_input

    from pssdet.images import encode_jpeg, load
    from pssdet.models.preprocess import as_batch, prepare, sample_picture
    from pssdet.models.zoo import PUBLISHED

    (steps,) = (entry.preprocessing for entry, _ in PUBLISHED if entry.row == row)
    scene = cv2.resize(sample_picture(), size[::-1], interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 6, scene.shape)
    picture = np.clip(scene + noise, 0, 255).astype(np.uint8)
    jpeg = encode_jpeg(picture, 90)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        times = _interleaved(
            {
                "plain": lambda: plain_input(picture, steps),
                "ours": lambda: as_batch([prepare(picture, steps)]),
                "decoded": lambda: as_batch([prepare(load(jpeg), steps)]),
            }
        )
    finally:
        cv2.setNumThreads(before)
    shape = "x".join(map(str, prepare(picture, steps).image.shape))
    faster = times["plain"] / times["ours"]
    return [
        f"row{row}", f"{size[1]}x{size[0]}", shape, f"{times['plain']:.2f}", f"{times['ours']:.2f}",
        f"{faster:.1f}", f"{times['decoded']:.2f}", _judged(row, size, times, faster),
    ]  # fmt: skip


def _judged(row: int, size: tuple[int, int], times: Mapping[str, float], faster: float) -> str:
    if row != 4:
        return f"{'met' if faster >= FASTER else 'missed'}: {faster:.1f} of {FASTER:g} times"
    if size != SIZES[0]:
        return "-"
    parts = zip(("ours", "decoded"), ROW4_MS, strict=True)
    return "; ".join(
        f"{'met' if times[name] <= most else 'missed'}: {times[name] / most:.0%} of {most:g} ms"
        for name, most in parts
    )


def _interleaved(works: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of processor time of each."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            work()  # memory that another way gave back would be got anew
            started = thread_time()
            work()
            times[name].append(1e3 * (thread_time() - started))
    return {name: median(each) for name, each in times.items()}
