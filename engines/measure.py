"""Times the backends among which ``--backend auto`` chooses, side by side on this machine."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from pssdet.console import Progress
from pssdet.engines.backend import BuildOptions
from pssdet.engines.build_engine import build_engine
from pssdet.engines.registry import candidates
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.models.card import Precision, read_model_card
from pssdet.models.preprocess import sample_batches

#: Rounds in which every engine runs once, and the time after which no new one begins.
ROUNDS = 15
SECONDS = 60.0


class Measured(NamedTuple):
    """Seconds of one picture, medians by backend in the order of preference; and why others have none."""

    seconds: dict[str, float]
    failed: dict[str, str]

    @property
    def fastest(self) -> str:
        """The backend with the least."""
        return min(self.seconds, key=self.seconds.__getitem__)


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
        sessions = {}
        for backend in candidates(precision):
            progress(f"building the {backend.name} engine to measure")
            target = Path(folder) / backend.name
            try:
                card = build_engine(model, backend, precision, target, options=options)
            except (BadInput, EnvironmentMissing, GateFailed) as error:
                failed[backend.name] = str(error)
                continue
            sessions[backend.name] = stack.enter_context(closing(backend.open(target, card)))
        progress("measuring")
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for session in sessions.values():
            session.run(inputs)
        started = perf_counter()
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                before = perf_counter()
                session.run(inputs)
                times[name].append(perf_counter() - before)
            if perf_counter() - started > SECONDS:
                break
    return Measured({name: median(each) for name, each in times.items()}, failed)
