"""The training loop of one process."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import cv2
import numpy as np
import paddle
from numpy.typing import NDArray

from pssdet.errors import GateFailed
from pssdet.training.config import TrainingConfig
from pssdet.training.optimiser import AdamW, FlatParameters, learning_rate
from pssdet.training.samples import Annotated, Batches
from pssdet.training.trainable_detector import LOSSES, TrainableDetector

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
        self._batches = Batches(samples, config.preprocessing, config.batch, config.seed, config.numerics.pixel_offset)
        self._shared = shared

    def advance(
        self,
        until: int,
        report: Callable[[CurveRow], None] = lambda _: None,
        save: Callable[[Run], None] = lambda _: None,
    ) -> None:
        """Train up to step ``until``; ``report`` gets each row of the curve, ``save`` is called when it is time to."""
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
