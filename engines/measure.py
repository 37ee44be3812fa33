"""Times the backends among which ``--backend auto`` chooses, side by side on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import NamedTuple

from pssdet.console import Progress
from pssdet.engines.backend import BuildOptions, Session, Tensors
from pssdet.engines.build_engine import build_engine
from pssdet.engines.registry import candidates
from pssdet.errors import PssDetError
from pssdet.models.card import Precision, read_model_card
from pssdet.models.preprocess import sample_batches

#: Rounds in which every engine runs once, and the time after which no new one begins.
ROUNDS = 15
SECONDS = 60.0
#: Seconds before each run, in which threads of the engine before it that wait by spinning go to sleep.
PAUSE = 0.1


class Measured(NamedTuple):
    """Seconds of one picture, medians by backend in the order of preference; and why others have none."""

    seconds: dict[str, float]
    failed: dict[str, str]

    @property
    def fastest(self) -> str | None:
        """The backend with the least; None if nothing could be measured."""
        return min(self.seconds, key=self.seconds.__getitem__, default=None)


def measure(
    model: Path, precision: Precision, options: BuildOptions, progress: Progress = lambda _: None
) -> Measured:
    """Build an engine of each backend that runs the precision here, and time them on the bundled picture.

    Args:
        model: folder of the exported model.
        options: as for ``build_engine``; a backend that lacks one of them is named among the failed.
    """
    _, inputs = next(sample_batches(read_model_card(model).preprocessing))
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="pssdet-measure-") as folder, ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for backend in candidates(precision):
            progress(f"building the {backend.name} engine to measure")
            target = Path(folder) / backend.name
            try:
                card = build_engine(model, backend, precision, target, options=options)
                session = stack.enter_context(closing(backend.open(target, card)))
                session.run(inputs)  # loads kernels and fills caches
            except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
                failed[backend.name] = _reason(error)
            else:
                sessions[backend.name] = session
        progress("measuring")
        return Measured(_medians(sessions, inputs), failed)


def _medians(sessions: Mapping[str, Session], inputs: Tensors) -> dict[str, float]:
    """Seconds of a run; each round begins with the next session, so that none always follows the same one."""
    names = [*sessions]
    times: dict[str, list[float]] = {name: [] for name in names}
    started = perf_counter()
    for _ in range(ROUNDS if names else 0):
        for name in names:
            sleep(PAUSE)
            before = perf_counter()
            sessions[name].run(inputs)
            times[name].append(perf_counter() - before)
        names.append(names.pop(0))
        if perf_counter() - started > SECONDS:
            break
    return {name: median(each) for name, each in times.items()}


def _reason(error: Exception) -> str:
    """In one line, with the kind of an error that was not raised on purpose."""
    text = str(error) if isinstance(error, PssDetError) else f"{type(error).__name__}: {error}"
    return text.strip().split("\n")[0]
