"""Work in a process of its own: whatever goes wrong there, a crash or a hang included, comes back in words."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pssdet.console import quiet_paddle
from pssdet.errors import PssDetError

#: A child that gives no sign of life for so many turns of so many seconds hangs. Turns, so that time in
#: which parent and child were suspended counts as one of them at most.
TURNS, TURN_SECONDS = 10, 60.0
#: What a child may take for its clean-up once its result is here.
_CLEAN_UP_SECONDS = 10.0

#: Called by the work after every part of it, such as a picture: a sign of life.
Alive = Callable[[], None]

_T = TypeVar("_T")


def in_child(function: Callable[..., _T], *arguments: object) -> _T | str:
    """What the function returns in a process of its own, or in words what went wrong there.

    Args:
        function: called with the arguments and then an ``Alive``; must be importable by its name.
        arguments: whatever can be pickled.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sender, function, arguments))
    child.start()
    sender.close()
    try:
        answer = _answer(receiver)
        if answer is None:
            return f"the engine hung: nothing came of it for {TURNS * TURN_SECONDS / 60:g} minutes, and it was stopped"
        child.join(_CLEAN_UP_SECONDS)
        result: _T | str = answer[0]
        return result
    except (EOFError, OSError):
        return "the engine crashed its process"
    finally:
        child.kill()
        child.join(_CLEAN_UP_SECONDS)
        receiver.close()


def _answer(receiver: Connection) -> tuple[Any] | None:
    """What ``_work`` sends in the end; None if nothing came for too long."""
    while any(receiver.poll(TURN_SECONDS) for _ in range(TURNS)):
        message: tuple[Any] | None = receiver.recv()
        if message is not None:
            return message
    return None


def _work(sender: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """In the child: None is a sign of life, a tuple of one the result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    quiet_paddle()
    try:
        result = function(*arguments, partial(sender.send, None))
    except PssDetError as error:
        result = str(error)
    except BaseException as error:  # noqa: BLE001 - whatever an engine does is a finding of the report
        result = f"{type(error).__name__}: {error}"
    sender.send((result,))
