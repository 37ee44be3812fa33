"""Which pictures run together, and how batches run: one after another, or overlapped where the session offers it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from pssdet.engines.backend import Pipelined, Session, Tensors
from pssdet.errors import BadInput

#: The inputs of a batch by name: arrays, or pictures where the session takes them.
Inputs = Mapping[str, Any]
T = TypeVar("T")

#: To which size pictures are padded: each to its ``own``, so that only pictures of equal size run together, or
#: all of a batch to a ``common`` one.
Padding: TypeAlias = Literal["own", "common"]


def check_batching(max_batch: int, padding: Padding) -> None:
    """Refuse a batch size or padding that does not exist.

    Raises:
        BadInput: a batch would hold no picture, or the padding has another name.
    """
    if max_batch < 1:
        raise BadInput(f"a batch of at most {max_batch} pictures is none; choose 1 or more")
    if padding not in get_args(Padding):
        raise BadInput(f"there is no padding {padding!r}; choose {' or '.join(get_args(Padding))}")


def batches(shapes: Sequence[tuple[int, ...]], largest: int, padding: Padding) -> list[list[int]]:
    """Positions of the pictures that run together, at most ``largest`` each, in the order of their first ones.

    Args:
        shapes: each picture's padded shape; with ``own`` padding those of a batch are equal.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape if padding == "own" else (), []).append(index)
    return sorted(group[at : at + largest] for group in groups.values() for at in range(0, len(group), largest))


class Pipeline:
    """Runs the batches of any number of threads through one session.

    A ``Pipelined`` session is safe for threads by itself; any other runs one batch at a time.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()
        self._closed = False

    def outputs(self, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
        """The outputs of each batch, in their order.

        With a ``Pipelined`` session, batches are taken ahead of results: the caller prepares a batch while
        earlier ones are copied and computed. An error in preparing one is raised after their results.

        Args:
            batches: pairs of whatever the caller wants back beside the outputs, and the inputs.

        Raises:
            ValueError: the pipeline is closed.
        """
        if isinstance(self._session, Pipelined):
            return _overlapped(self._session, batches)
        return self._in_turn(batches)

    def close(self) -> None:
        """Free the session, once, after the batch that it may be running."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._session.close()

    def _in_turn(self, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
        for item, inputs in batches:
            with self._lock:
                if self._closed:
                    raise ValueError("the detector is closed")
                outputs = self._session.run(inputs)
            yield item, outputs


def _overlapped(session: Pipelined, batches: Iterable[tuple[T, Inputs]]) -> Iterator[tuple[T, Tensors]]:
    source = iter(batches)
    waiting: deque[tuple[T, Any]] = deque()
    while True:
        try:
            batch = next(source, None)
        except Exception:
            # Without overlap, the batches before would have given their results by now.
            yield from _collected(session, waiting)
            raise
        if batch is None:
            break
        if len(waiting) == session.depth:
            item, request = waiting.popleft()
            yield item, session.collect(request)
        item, inputs = batch
        waiting.append((item, session.submit(inputs)))
    yield from _collected(session, waiting)


def _collected(session: Pipelined, waiting: deque[tuple[T, Any]]) -> Iterator[tuple[T, Tensors]]:
    while waiting:
        item, request = waiting.popleft()
        yield item, session.collect(request)
