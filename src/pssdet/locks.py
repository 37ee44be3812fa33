"""Locks between processes: a file that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pssdet.errors import BadInput


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock ``path`` for the block; the kernel releases it whatever ends the process.

    The file stays, empty: removing it would let two processes hold a lock of the same name.

    Args:
        waiting: called once, if another process holds the lock.

    Raises:
        BadInput: the file cannot be made.
    """
    with _opened(path) as descriptor:
        if not _taken(descriptor):
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock ``path`` for the block if nobody else does; says whether it is held.

    Raises:
        BadInput: the file cannot be made.
    """
    with _opened(path) as descriptor:
        yield _taken(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock if nobody holds it; says whether it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The lock's file, made if it is missing; closing it gives the lock back."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(
            f"cannot lock {path} ({reason}); choose another folder, PSSDET_CACHE names that of caches"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
