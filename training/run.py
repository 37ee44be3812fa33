"""A training run: its configuration, its processes, the loop of each, and the state to resume from."""

from __future__ import annotations

import io
import multiprocessing
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import BrokenBarrierError
from time import perf_counter
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import paddle
from numpy.typing import NDArray

from pssdet.errors import BadInput, GateFailed, PssDetError
from pssdet.files import staged_folder, write_atomically
from pssdet.models.architecture import Architecture
from pssdet.models.numerics import DYGRAPH, STATIC, Numerics
from pssdet.models.reader import Preprocessing
from pssdet.models.zoo import MINI_CASCADE, MINI_CASCADE_PREPROCESSING, MINI_FASTER, MINI_PREPROCESSING
from pssdet.training.optimiser import AdamW, FlatParameters, learning_rate
from pssdet.training.samples import Annotated, Batches
from pssdet.training.trainable_detector import LOSSES, TrainableDetector


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
    "mini_faster": TrainingConfig(MINI_FASTER, DYGRAPH, MINI_PREPROCESSING, steps=5000, undeformed=2400),
    "mini_cascade": TrainingConfig(
        MINI_CASCADE,
        STATIC,
        MINI_CASCADE_PREPROCESSING,
        start="bundled:mini_faster.pdparams",
        steps=1200,
        undeformed=0,
        rate=1e-3,
        warmup=100,
    ),
}


#: How long a process waits for the others at a barrier.
BARRIER_SECONDS = 600.0


class CurveRow(NamedTuple):
    """One row of the curve: mean losses, of the first process, over the steps since the last row."""

    step: int
    rate: float
    losses: tuple[float, ...]
    seconds: float


class Shared(NamedTuple):
    """What the processes of a run share: a barrier, and memory for a gradient of each."""

    barrier: Any
    memory: Any


class Run:
    """One process's part of a training run.

    Args:
        config: of the run.
        samples: the data set.
        rank: 0 is the process that reports and saves.
        shared: None if it is alone.

    Attributes:
        step: steps done.
        rows: of the curve so far.
    """

    def __init__(
        self, config: TrainingConfig, samples: list[Annotated], rank: int = 0, shared: Shared | None = None
    ) -> None:
        paddle.seed(config.seed)
        cv2.setNumThreads(1)  # the processes take the cores
        self.config, self.rank = config, rank
        self.model = TrainableDetector(config.architecture, config.numerics)
        if config.start:
            self.model.start_from(config.start)
        self.parameters = FlatParameters(self.model)
        self.optimiser = AdamW(self.parameters.size, config.decay, config.clip)
        self.step = 0
        self.rows: list[CurveRow] = []
        self._batches = Batches(
            samples, config.preprocessing, config.batch, config.seed, config.numerics.pixel_offset
        )
        self._shared = shared

    def advance(
        self,
        until: int,
        report: Callable[[CurveRow], None] = lambda _: None,
        save: Callable[[Run], None] = lambda _: None,
    ) -> None:
        """Train up to step ``until``; ``report`` gets each row of the curve, ``save`` is called when due."""
        self.model.train()
        values = self.parameters.values()
        losses: list[list[float]] = []
        started = perf_counter()
        while self.step < until:
            self.model.set_deforming(on=self.step >= self.config.undeformed)
            gradient, of_step = self._gradient()
            rate = learning_rate(self.step, self.config.steps, self.config.warmup, self.config.rate)
            values = self.optimiser.update(values, gradient, self.parameters.decays, self.step, rate)
            self.parameters.assign(values)
            self.step += 1
            losses.append(of_step)
            if self.step % self.config.report == 0:
                mean = tuple(np.mean(losses, axis=0).tolist())
                self.rows.append(CurveRow(self.step, rate, mean, perf_counter() - started))
                losses, started = [], perf_counter()
                report(self.rows[-1])
            if self.step % self.config.save == 0 or self.step == until:
                save(self)
        self.model.set_deforming(on=True)

    def _gradient(self) -> tuple[NDArray[np.float32], list[float]]:
        """The step's gradient, averaged over the processes, and this process's losses."""
        batch, rng = self._batches.batch(self.step * self.config.processes + self.rank)
        losses = self.model.losses(batch, rng)
        sum(losses[name] for name in LOSSES).backward()
        values = [float(losses[name]) for name in LOSSES]
        gradient = self.parameters.take_gradients()
        if not np.isfinite(gradient).all():  # Paddle's selection steps crash on parameters that are not
            raise GateFailed(
                f"the gradient of step {self.step} is not finite, losses {values}; train with a lower rate"
            )
        return (gradient if self._shared is None else self._average(gradient, self._shared)), values

    def _average(self, gradient: NDArray[np.float32], shared: Shared) -> NDArray[np.float32]:
        table = np.frombuffer(shared.memory, np.float32).reshape(self.config.processes, -1)
        table[self.rank] = gradient
        shared.barrier.wait(BARRIER_SECONDS)
        mean: NDArray[np.float32] = table.mean(axis=0)
        shared.barrier.wait(BARRIER_SECONDS)  # nobody writes before all have read
        return mean


STATE = "state.npz"
_MODEL = "model/"


def save_state(run: Run, folder: Path) -> None:
    """Write all that ``resume`` needs."""
    arrays = {_MODEL + name: tensor.numpy() for name, tensor in run.model.state_dict().items()}
    rows = np.array([(row.step, row.rate, row.seconds, *row.losses) for row in run.rows])
    plan = np.frombuffer(msgspec.json.encode(run.config), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, plan=plan, step=run.step, moments=run.optimiser.moments, rows=rows, **arrays)
    write_atomically(folder / STATE, stream.getvalue())


def resume(run: Run, folder: Path) -> None:
    """Continue from the folder's state, if there is one.

    Raises:
        BadInput: it is the state of another configuration, or damaged.
    """
    path = folder / STATE
    if not path.exists():
        return
    try:
        with np.load(path) as state:
            arrays = dict(state)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} cannot be read ({error}); delete it to train from the start") from error
    if arrays["plan"].tobytes() != msgspec.json.encode(run.config):
        raise BadInput(f"{path} is the state of another configuration; delete it, or choose another folder")
    run.step = int(arrays["step"])
    run.optimiser.moments[:] = arrays["moments"]
    run.rows = [
        CurveRow(int(step), rate, tuple(losses), seconds)
        for step, rate, seconds, *losses in arrays["rows"].tolist()
    ]
    values = {name.removeprefix(_MODEL): value for name, value in arrays.items() if name.startswith(_MODEL)}
    run.model.set_state_dict(values)


def write_result(run: Run, folder: Path, name: str) -> list[Path]:
    """Write the checkpoint NAME.pdparams and the curve NAME.csv to ``folder``.

    The curve has one row for every ``config.report`` steps: the learning rate of the row's last step,
    the mean losses of its steps and the seconds they took.
    """
    lines = [",".join(("step", "rate", *LOSSES, "seconds"))]
    for row in run.rows:
        losses = ",".join(f"{loss:.4f}" for loss in row.losses)
        lines.append(f"{row.step},{row.rate:.3e},{losses},{row.seconds:.1f}")
    names = [f"{name}.pdparams", f"{name}.csv"]
    with staged_folder(folder) as stage:
        values = {key: paddle.to_tensor(rounded(x.numpy())) for key, x in run.model.state_dict().items()}
        paddle.save(values, str(stage / names[0]))
        (stage / names[1]).write_text("\n".join(lines) + "\n")
    return [folder / each for each in names]


#: Significant bits of the parameters in a checkpoint: more do not change AP, and fewer compress better, so that
#: a clone with the checkpoints in it is smaller.
_SIGNIFICANT_BITS = 9


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Finite float32 values, rounded half away from zero to so many significant bits."""
    dropped = 24 - _SIGNIFICANT_BITS
    bits = np.ascontiguousarray(values).view(np.uint32) + np.uint32(1 << (dropped - 1))
    return (bits >> dropped << dropped).view(np.float32).reshape(values.shape)


def train(
    config: TrainingConfig, samples: list[Annotated], folder: Path, report: Callable[[CurveRow], None]
) -> Run:
    """The finished run, resumed from the folder's state if there is one.

    Raises:
        BadInput: the folder has the state of another configuration.
        PssDetError: one of the processes failed.
    """
    context = multiprocessing.get_context("spawn")
    size = FlatParameters(TrainableDetector(config.architecture, config.numerics)).size
    shared = Shared(context.Barrier(config.processes), context.RawArray("f", config.processes * size))
    others = [
        context.Process(target=_run_process, args=(config, samples, folder, rank, shared), daemon=True)
        for rank in range(1, config.processes)
    ]
    for process in others:
        process.start()
    try:
        run = _run_process(config, samples, folder, 0, shared, report)
    except BrokenBarrierError as error:
        raise PssDetError("one of the training processes failed; its error stands above") from error
    for process in others:
        process.join()
    return run


def _run_process(
    config: TrainingConfig,
    samples: list[Annotated],
    folder: Path,
    rank: int,
    shared: Shared,
    report: Callable[[CurveRow], None] = lambda _: None,
) -> Run:
    """One process's whole part; whatever stops it stops the others."""
    try:
        run = Run(config, samples, rank, shared)
        resume(run, folder)
        shared.barrier.wait(BARRIER_SECONDS)  # nobody saves before all have resumed
        run.advance(config.steps, report, lambda each: save_state(each, folder) if rank == 0 else None)
    except BaseException:
        shared.barrier.abort()
        raise
    return run
