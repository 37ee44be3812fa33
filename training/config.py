"""The configuration of a training run, and those of the bundled detectors."""

from __future__ import annotations

import msgspec

from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH, STATIC, Numerics
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import MINI_CASCADE, MINI_CASCADE_PREPROCESSING, MINI_FASTER, MINI_PREPROCESSING


class TrainingConfig(msgspec.Struct, frozen=True):
    """Everything that decides the result of a training run, except for the pictures.

    Attributes:
        start: checkpoint of another detector, whose parameters of equal name and shape this one starts from.
        steps: optimisation steps.
        undeformed: how many steps pass before the deformable convolutions deform.
        processes: share a step: each computes a batch, and their gradients are averaged.
        batch: pictures of a batch; a step sees ``processes`` times as many.
        rate: peak learning rate.
        warmup: steps until it is reached.
        decay: weight decay.
        clip: longest gradient; a longer one is scaled down to this norm.
        seed: of the parameters, the order of the pictures, flips and samples.
        report: steps between two rows of the curve.
        save: steps between two states; a multiple of ``report``.
    """

    architecture: Architecture
    numerics: Numerics
    preprocessing: Preprocessing
    steps: int
    undeformed: int
    start: str = ""
    processes: int = 2
    batch: int = 4
    rate: float = 2e-3
    warmup: int = 300
    decay: float = 0.02
    clip: float = 5.0
    seed: int = 4
    report: int = 20
    save: int = 200


#: How the bundled detectors were made.
CONFIGS = {
    "mini_faster": TrainingConfig(MINI_FASTER, DYGRAPH, MINI_PREPROCESSING, steps=5600, undeformed=4600),
    "mini_cascade": TrainingConfig(
        MINI_CASCADE,
        STATIC,
        MINI_CASCADE_PREPROCESSING,
        start="bundled:mini_faster.pdparams",
        steps=1600,
        undeformed=0,
        rate=1e-3,
        warmup=100,
    ),
}
