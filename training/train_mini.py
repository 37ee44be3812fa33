"""Train the bundled small detectors on rendered scenes."""

from __future__ import annotations

import os
from pathlib import Path

from pssdet.commands.app import run


def train_mini(
    *,
    model: str = "mini_faster",
    output: Path | None = None,
    scenes: Path = Path("artifacts/scenes/train"),
    count: int = 8000,
    steps: int = 0,
) -> None:
    """Train a bundled detector on rendered scenes, with two processes of one thread each.

    Renders the scenes if they are not there, and resumes from the output folder's state. The result is
    MODEL.pdparams and its curve MODEL.csv.

    Args:
        model: mini_faster, from nothing, or mini_cascade, from mini_faster.
        output: Folder for the state, the checkpoint and the curve (default: artifacts/training/MODEL).
        scenes: Folder of the training scenes.
        count: Training scenes.
        steps: Optimisation steps, of eight pictures each (default: those of the bundled checkpoint).
    """
    _prepare_environment()
    import msgspec

    from pssdet.console import ERR
    from pssdet.errors import BadInput
    from pssdet.models.labels import SHAPES
    from pssdet.training.run import CONFIGS, CurveRow, train, write_result
    from pssdet.training.samples import annotated_pictures
    from pssdet.validation.ground_truth import read_ground_truth
    from pssdet.validation.scenes.dataset import ensure_dataset

    if model not in CONFIGS:
        raise BadInput(f"there is no configuration for {model!r}; choose from {', '.join(CONFIGS)}")
    config = CONFIGS[model]
    config = msgspec.structs.replace(config, steps=steps or config.steps)
    folder = output or Path("artifacts/training") / model

    def rendered(number: int) -> None:
        if number % 500 == 0:
            ERR.print(f"rendered {number} of {count} scenes")

    def report(row: CurveRow) -> None:
        left = (config.steps - row.step) * row.seconds / config.report / 60
        losses = " ".join(f"{loss:.3f}" for loss in row.losses)
        ERR.print(
            f"step {row.step} of {config.steps}: losses {losses}, rate {row.rate:.1e}, {left:.0f} min left"
        )

    truth = read_ground_truth(ensure_dataset(scenes, "train", count, rendered), scenes, SHAPES, model)
    finished = train(config, annotated_pictures(truth), folder, report)
    for path in write_result(finished, folder, model):
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
