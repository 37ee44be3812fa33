"""The output of the commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NoReturn, Protocol

from rich.console import Console
from rich.text import Text

#: Prints results as they are: paths may contain what Rich takes for markup.
#: Tables keep this width in files and pipes, where no terminal gives one.
OUT = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
ERR = Console(stderr=True, highlight=False, markup=False)


class Progress(Protocol):
    """Called at the start of each step with what the step does."""

    def __call__(self, step: str, /) -> None:
        """Announce the step that begins."""
        ...


@contextmanager
def steps() -> Iterator[Progress]:
    """Show the running step, with a spinner on a terminal, and print how long each step took."""
    started, current = perf_counter(), ""

    def finish() -> None:
        if current:
            ERR.print(f"  {current} {perf_counter() - started:.1f} s", style="dim")

    with ERR.status("starting") as status:

        def begin(step: str) -> None:
            nonlocal started, current
            finish()
            if _terminated:
                terminate()
            started, current = perf_counter(), step
            status.update(Text(step))

        yield begin
        finish()


_terminated: list[bool] = []


def terminate(*_: object) -> NoReturn:
    """Exit through every clean-up, as after an error, on SIGTERM.

    C++ code that calls Python may lose the exception; then the next step raises it again.
    """
    _terminated.append(True)
    sys.exit(143)


def quiet_paddle() -> None:
    """Silence Paddle's own warnings, on which no user can act; call it before Paddle is imported."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    # They name Paddle's modules or, raised on its behalf, ours; so their texts identify them.
    for text in ("No ccache found", "\\s*Non compatible API"):
        warnings.filterwarnings("ignore", message=text)
