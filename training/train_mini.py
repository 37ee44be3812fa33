"""Train the bundled small detector from nothing, on rendered scenes."""

from __future__ import annotations

import os
from pathlib import Path

from pssdet.cli import run


def train_mini(
    *,
    output: Path = Path("artifacts/training/mini_faster"),
    scenes: Path = Path("artifacts/scenes/train"),
    count: int = 8000,
    steps: int = 5600,
    undeformed: int = 4600,
    seed: int = 4,
) -> None:
    """Train mini_faster from nothing on rendered scenes, with two processes of one thread each.

    Renders the scenes if they are not there, and resumes from the output folder's state. The result is
    mini_faster.pdparams and its curve mini_faster.csv.

    Args:
        output: Folder for the state, the checkpoint and the curve.
        scenes: Folder of the training scenes.
        count: Training scenes.
        steps: Optimisation steps, of eight pictures each.
        undeformed: How many of them come before the deformable convolutions deform.
        seed: Of the parameters, the order of the pictures and all samples.
    """
    _prepare_environment()
    from pssdet.console import ERR
    from pssdet.models.mini import MINI_FASTER, MINI_PREPROCESSING
    from pssdet.models.numerics import DYGRAPH
    from pssdet.training.loop import Row
    from pssdet.training.plan import Plan
    from pssdet.training.processes import train
    from pssdet.training.samples import read_annotations
    from pssdet.training.state import write_result
    from pssdet.validation.scene_files import ensure_dataset

    def rendered(number: int) -> None:
        if number % 500 == 0:
            ERR.print(f"rendered {number} of {count} scenes")

    def report(row: Row) -> None:
        left = (steps - row.step) * row.seconds / plan.report / 60
        losses = " ".join(f"{loss:.3f}" for loss in row.losses)
        ERR.print(f"step {row.step} of {steps}: losses {losses}, rate {row.rate:.1e}, {left:.0f} min left")

    plan = Plan(MINI_FASTER, DYGRAPH, MINI_PREPROCESSING, steps=steps, undeformed=undeformed, seed=seed)
    samples = read_annotations(ensure_dataset(scenes, "train", count, rendered))
    finished = train(plan, samples, output, report)
    for path in write_result(finished, output, "mini_faster"):
        ERR.print(f"wrote {path}")


def _prepare_environment() -> None:
    """Settings that the numeric libraries only read when they are loaded, which nothing has done yet."""
    # Two processes of one thread share a step: most operators of Paddle use one thread anyway.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The MKL inside Paddle's wheels takes its slowest path on processors it does not know, AMD's among
    # them; 5 selects AVX2, two to four times faster.
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")


if __name__ == "__main__":
    run(train_mini)
