"""The output of the commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

from rich.console import Console
from rich.text import Text

#: Results, printed as they are: paths may hold what Rich takes for markup.
#: Tables keep their width in files and pipes, where there is no terminal to ask.
OUT = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
ERR = Console(stderr=True, highlight=False, markup=False)


class Progress(Protocol):
    """Told at the start of each step what it is."""

    def __call__(self, step: str, /) -> None:
        """A step begins."""
        ...


@contextmanager
def steps() -> Iterator[Progress]:
    """Show the step that is running, with a spinner on a terminal, and how long each took."""
    started, current = perf_counter(), ""

    def finish() -> None:
        if current:
            ERR.print(f"  {current} {perf_counter() - started:.1f} s", style="dim")

    with ERR.status("starting") as status:

        def begin(step: str) -> None:
            nonlocal started, current
            finish()
            started, current = perf_counter(), step
            status.update(Text(step))

        yield begin
        finish()


def quiet_paddle() -> None:
    """Keep Paddle's own warnings, on which no user can act, out of the output; call it before Paddle is imported."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    # They name Paddle's modules or, raised on its behalf, ours; so they are told by their texts.
    for text in ("No ccache found", "\\s*Non compatible API"):
        warnings.filterwarnings("ignore", message=text)
