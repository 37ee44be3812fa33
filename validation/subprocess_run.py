"""Run a function in a process of its own: whatever goes wrong there, a crash or a hang included, comes back as text."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pssdet.console import quiet_paddle
from pssdet.errors import PssDetError

#: A child without a heartbeat for so many polls of so many seconds hangs. Several polls, so that time in
#: which parent and child were suspended counts as one of them at most.
POLLS, POLL_SECONDS = 10, 60.0
#: How long a child may take for its clean-up once it has sent its result.
_CLEAN_UP_SECONDS = 10.0

#: To be called after every part of the work, such as a picture, to show that it progresses.
Heartbeat = Callable[[], None]

_T = TypeVar("_T")


def run_in_subprocess(function: Callable[..., _T], *arguments: object) -> _T | str:
    """Call the function in a process of its own; returns its result, or a text that says what went wrong.

    Args:
        function: called with the arguments and then a ``Heartbeat``; must be importable by its name.
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
            return f"the engine hung: it made no progress for {POLLS * POLL_SECONDS / 60:g} minutes and was stopped"
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
    """The result that ``_work`` sends, in a tuple; None if nothing came for too long."""
    while any(receiver.poll(POLL_SECONDS) for _ in range(POLLS)):
        message: tuple[Any] | None = receiver.recv()
        if message is not None:
            return message
    return None


def _work(sender: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Runs in the child and sends None as a heartbeat and a tuple of one as the result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    quiet_paddle()
    try:
        result = function(*arguments, partial(sender.send, None))
    except PssDetError as error:
        result = str(error)
    except BaseException as error:  # noqa: BLE001 - whatever an engine does is a finding of the report
        result = f"{type(error).__name__}: {error}"
    sender.send((result,))
