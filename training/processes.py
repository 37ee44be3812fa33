"""A training run of several processes, each on its own core."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from threading import BrokenBarrierError

from pssdet.errors import PssDetError
from pssdet.training.config import TrainingConfig
from pssdet.training.loop import BARRIER_SECONDS, CurveRow, Run, Shared
from pssdet.training.optimiser import FlatParameters
from pssdet.training.samples import Annotated
from pssdet.training.state import resume, save_state
from pssdet.training.trainable_detector import TrainableDetector


def train(config: TrainingConfig, samples: list[Annotated], folder: Path, report: Callable[[CurveRow], None]) -> Run:
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
