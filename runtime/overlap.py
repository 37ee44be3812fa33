"""Work that goes on while earlier results are used: pictures prepared in threads, batches in an engine.

The order is kept. An error, also one in the items themselves, is raised after the results of all items
before it, as without overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NoReturn, TypeVar

from pssdet.engines.backend import Pipelined, Tensors
from pssdet.runtime.preprocessing import Inputs

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(
    work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int
) -> Generator[R, None, None]:
    """``work`` of each item, done for up to ``ahead`` items before the next result is used.

    The items are taken by the thread that takes the results. The threads end with the generator, also if it
    is closed early.
    """
    pool = ThreadPoolExecutor(threads, "prepare")
    try:
        yield from _ahead((pool.submit(work, item).result for item in items), ahead)
    finally:
        pool.shutdown(cancel_futures=True)


def run_ahead(
    session: Pipelined, batches: Iterable[tuple[T, Inputs]]
) -> Generator[tuple[T, Tensors], None, None]:
    """The outputs of each batch, with the caller's item beside them; with up to ``session.depth`` under way.

    No batch runs any more once the generator has ended, also if it is closed early or by an error.
    """

    def collect(item: T, request: object) -> tuple[T, Tensors]:
        return item, session.collect(request)

    started = (partial(collect, item, session.submit(inputs)) for item, inputs in batches)
    return _ahead(started, session.depth, to_the_end=True)


def _ahead(
    started: Iterable[Callable[[], R]], most: int, *, to_the_end: bool = False
) -> Generator[R, None, None]:
    """The results of work that starts as it is taken from ``started``, with at most ``most`` under way.

    Args:
        to_the_end: wait also for work whose result nobody takes.
    """
    under_way: deque[Callable[[], R]] = deque()
    try:
        for result in _errors_in_turn(started):
            under_way.append(result)
            if len(under_way) == most:
                yield under_way.popleft()()
        while under_way:
            yield under_way.popleft()()
    finally:
        while to_the_end and under_way:
            with suppress(Exception):
                under_way.popleft()()


def _errors_in_turn(started: Iterable[Callable[[], R]]) -> Iterator[Callable[[], R]]:
    """The same; an error in starting becomes work that ends with it."""
    try:
        yield from started
    except Exception as error:  # noqa: BLE001
        yield partial(_raise, error)


def _raise(error: Exception) -> NoReturn:
    raise error
