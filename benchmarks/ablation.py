"""What the bundled detectors lose when a part of them is broken: their AP with planted faults, with Paddle.

    python benchmarks/ablation.py    # writes benchmarks/results/ablation.md

A detector that does as well without a part proves nothing about that part: a fault there would pass every check
of detections. So the loss that each fault must cause is asserted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.documents import table
from benchmarks.shared import write_page
from pssdet.commands.app import run
from pssdet.commands.artifacts import held_out_scenes
from pssdet.console import Progress, steps
from pssdet.errors import GateFailed
from pssdet.images import load
from pssdet.models.network.detector import TwoStageDetector
from pssdet.models.network.layers import TAPS
from pssdet.models.network.reference_run import parameter_shapes, with_parameters
from pssdet.models.parameters import load_parameters
from pssdet.models.zoo import ZooEntry, bundled
from pssdet.training.evaluate import average_precisions, detect_all
from pssdet.training.samples import annotated_pictures
from pssdet.validation.compare import margin
from pssdet.validation.ground_truth import GroundTruth, read_ground_truth

Floats = NDArray[np.float32]

#: What a gross fault must cost at least, of an AP between 0 and 1.
GROSS_LOSS = 0.10

# Channels 2k and 2k + 1 of an offset convolution are (dy, dx) of tap k, channel 18 + k is its mask's logit.
_OFFSETS, _MASKS = slice(0, 2 * TAPS), slice(2 * TAPS, 3 * TAPS)
_SATURATED = 100.0  # a logit whose sigmoid is 1


class Fault(NamedTuple):
    """A way to break a detector.

    Attributes:
        name: what is wrong.
        plant: changes the weight [27, C, 3, 3] and the bias [27] of each offset convolution in place.
        bgr: the pictures are BGR where RGB is wanted.
        gross: AP must fall by ``GROSS_LOSS``; otherwise by more than the margin that fp16 is judged by.
    """

    name: str
    plant: Callable[[Floats, Floats], None] | None = None
    bgr: bool = False
    gross: bool = False


def zero_offsets(weight: Floats, bias: Floats) -> None:
    """The layer samples like a plain convolution."""
    weight[_OFFSETS], bias[_OFFSETS] = 0, 0


def fix_offsets(weight: Floats, _: Floats) -> None:
    """The layer samples alike everywhere, whatever the picture shows: only the bias is left."""
    weight[_OFFSETS] = 0


def open_masks(weight: Floats, bias: Floats) -> None:
    """No sample is weakened: DCNv1."""
    weight[_MASKS], bias[_MASKS] = 0, _SATURATED


def shift_samples(_: Floats, bias: Floats) -> None:
    """Every sample is taken half a pixel further down and to the right."""
    bias[_OFFSETS] += 0.5


def swap_pair(weight: Floats, bias: Floats) -> None:
    """The first tap samples where the last one should, and the last where the first one should."""
    for parameter in (weight, bias):
        parameter[[0, 1, 16, 17]] = parameter[[16, 17, 0, 1]]


def swap_axes(weight: Floats, bias: Floats) -> None:
    """What is dy is taken for dx, and dx for dy."""
    exchanged = np.arange(2 * TAPS).reshape(TAPS, 2)[:, ::-1].ravel()
    for parameter in (weight, bias):
        parameter[_OFFSETS] = parameter[exchanged]


FAULTS = (
    Fault("DCN offsets zero", zero_offsets, gross=True),
    Fault("DCN masks one", open_masks, gross=True),
    Fault("BGR for RGB", bgr=True, gross=True),
    Fault("DCN offsets fixed", fix_offsets),
    Fault("DCN samples half a pixel off", shift_samples),
    Fault("offset pairs of first and last tap swapped", swap_pair),
    Fault("dy and dx swapped", swap_axes),
)


def with_fault(parameters: Mapping[str, Floats], fault: Fault) -> dict[str, Floats]:
    """A copy of a detector's parameters with the fault in each of its deformable convolutions."""
    faulty = {name: value.copy() for name, value in parameters.items()}
    for name, weight in faulty.items():
        if fault.plant and name.endswith(".conv_offset.weight"):
            fault.plant(weight, faulty[name.removesuffix("weight") + "bias"])
    return faulty


class Measured(NamedTuple):
    """What was measured of one detector.

    Attributes:
        sound: average precisions of the sound detector, by name.
        faulty: AP with each of ``FAULTS``.
    """

    name: str
    sound: dict[str, float]
    faulty: list[float]

    @property
    def losses(self) -> list[float]:
        """What each fault costs, of an AP between 0 and 1."""
        return [self.sound["AP"] - ap for ap in self.faulty]


def ablate(scenes: int = 1000) -> None:
    """Measure both bundled detectors with each fault; exit code 1 if a fault costs too little to be noticed.

    Args:
        scenes: Held-out scenes (default: 1000).
    """
    with steps() as progress:
        annotations, folder = held_out_scenes(scenes, progress)
        measured = []
        for entry in bundled():
            truth = read_ground_truth(annotations, folder, entry.labels, entry.name)
            measured.append(measure(entry, truth, progress))
    write_page(
        __file__,
        "What the bundled detectors lose without a part",
        f"## Sound, on {scenes} held-out scenes, Paddle, float32",
        *_sound_tables(measured),
        "## AP with a planted fault",
        table(["fault", *(each.name for each in measured), "must lose"], _fault_rows(measured)),
        "A fault of DCN is in each of a detector's deformable convolutions. In brackets, the difference to the"
        " sound detector. In training, samples start two pixels beside their place, so offsets that are lost"
        " cost much whatever the picture shows; what was learnt of pictures is the cost of fixed offsets, which"
        " are the bias of the layer that predicts them.",
    )
    if unnoticed := [line for each in measured for line in too_small(each)]:
        raise GateFailed("; ".join(unnoticed))


def measure(entry: ZooEntry, truth: GroundTruth, progress: Progress) -> Measured:
    """Measure a bundled detector, sound and with each fault."""
    samples = annotated_pictures(truth)
    detector = TwoStageDetector(entry.architecture, entry.numerics)
    parameters, _ = load_parameters(entry.checkpoint, parameter_shapes(detector))

    def with_planted(fault: Fault) -> dict[str, float]:
        progress(f"{entry.name}, {fault.name}")
        with_parameters(detector, with_fault(parameters, fault))
        return average_precisions(truth, detect_all(detector, entry, samples, _load_bgr if fault.bgr else load))

    return Measured(entry.name, with_planted(Fault("sound")), [with_planted(fault)["AP"] for fault in FAULTS])


def _load_bgr(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(load(path)[..., ::-1])


def least_loss(fault: Fault, ap: float) -> float:
    """What a fault must cost a detector of this AP."""
    return GROSS_LOSS if fault.gross else margin("fp16", ap)


def too_small(measured: Measured) -> list[str]:
    """A sentence for each fault that costs too little."""
    return [
        f"{measured.name} loses {loss:.4f} AP with {fault.name}, not {least:.4f}; train it again"
        for fault, loss in zip(FAULTS, measured.losses, strict=True)
        if not loss > (least := least_loss(fault, measured.sound["AP"]))
    ]


def _sound_tables(measured: Sequence[Measured]) -> Iterator[list[str]]:
    of_classes = [name for name in measured[0].sound if " " in name]
    of_sizes = [name for name in measured[0].sound if name not in of_classes]
    for title, names in (("detector", of_sizes), ("AP", of_classes)):
        rows = [[each.name, *(f"{each.sound[name]:.3f}" for name in names)] for each in measured]
        yield table([title, *(name.removeprefix("AP ") for name in names)], rows)


def _fault_rows(measured: Sequence[Measured]) -> Iterator[list[str]]:
    for row, fault in enumerate(FAULTS):
        cells = [f"{each.faulty[row]:.3f} ({-each.losses[row]:+.3f})" for each in measured]
        yield [fault.name, *cells, f"{GROSS_LOSS:.2f}" if fault.gross else "more than the margin of fp16"]


if __name__ == "__main__":
    run(ablate)
