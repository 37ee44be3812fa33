"""Each candidate in a process of its own, which waits without using the processor while another runs."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from time import perf_counter, sleep
from typing import Any

from benchmarks.cpu_speed.candidates import PADDLE, Prepared, inputs_of, open_candidate
from pssdet.console import Progress, quiet_paddle
from pssdet.errors import GateFailed, PssDetError

#: Runs of each candidate before the rounds: they load kernels and fill caches.
WARM_UP = 2
#: Seconds between runs, in which threads that wait for work by spinning go to sleep.
_PAUSE = 0.1
#: In every so many rounds Paddle runs.
PADDLE_ROUNDS = 3
_END_SECONDS = 10.0

#: Seconds of each round in which a candidate ran, by candidate.
Rounds = dict[str, dict[int, float]]


class Worker:
    """A candidate's process; ``run`` times one batch."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection
        self._answer()  # it is ready

    def run(self) -> float:
        """Seconds of one batch, measured in the process."""
        self._connection.send(True)  # noqa: FBT003
        return self._answer()

    def _answer(self) -> float:
        try:
            answer: float | str = self._connection.recv()
        except EOFError as error:
            raise GateFailed(f"{self.name} crashed its process") from error
        if isinstance(answer, str):
            raise GateFailed(f"{self.name} failed: {answer}")
        return answer


def measure(prepared: Prepared, batch: int, rounds: int, progress: Progress) -> Rounds:
    """The times of every candidate at a batch size, interleaved."""
    names = [name for name in prepared.candidates if batch == 1 or name not in PADDLE]
    with ExitStack() as stack:
        workers = {}
        for name in names:
            progress(f"{prepared.card.model}, batch {batch}: opening {name}")
            workers[name] = stack.enter_context(_worker(name, prepared, batch))
        progress(f"{prepared.card.model}, batch {batch}: {rounds} rounds")
        return interleaved(names, rounds, lambda name: workers[name].run())


def interleaved(names: Sequence[str], rounds: int, run: Callable[[str], float]) -> Rounds:
    """Run each candidate once a round, each round beginning with the next one; Paddle in some rounds only."""
    times: Rounds = {name: {} for name in names}
    for number in range(rounds):
        for name in order_of(names, number):
            sleep(_PAUSE)
            times[name][number] = run(name)
    return times


def order_of(names: Sequence[str], number: int) -> list[str]:
    """The order of a round."""
    first = number % len(names)
    rotated = [*names[first:], *names[:first]]
    return [name for name in rotated if name not in PADDLE or number % PADDLE_ROUNDS == 0]


@contextmanager
def _worker(name: str, prepared: Prepared, batch: int) -> Iterator[Worker]:
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, name, prepared, batch), daemon=True)
    process.start()
    its.close()
    try:
        yield Worker(name, ours)
    finally:
        ours.close()  # the process sees the end of its orders
        process.join(_END_SECONDS)
        process.kill()
        process.join()


def _serve(connection: Connection, name: str, prepared: Prepared, batch: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    quiet_paddle()
    try:
        inputs = inputs_of(prepared.card.preprocessing, batch)
        session = open_candidate(name, prepared, inputs)
        for _ in range(WARM_UP):
            session.run(inputs)
        connection.send(0.0)
        while connection.recv():
            connection.send(_seconds(session, inputs))
    except EOFError:
        return
    except PssDetError as error:
        connection.send(str(error))
    except Exception as error:  # noqa: BLE001 - whatever a candidate does is a finding
        connection.send(f"{type(error).__name__}: {error}")


def _seconds(session: Any, inputs: Mapping[str, Any]) -> float:
    started = perf_counter()
    session.run(inputs)
    return perf_counter() - started
