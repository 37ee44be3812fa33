"""Warnings that nobody who runs a command can act on."""

from __future__ import annotations

import os
import warnings


def quiet_paddle() -> None:
    """Keep Paddle's own warnings out of a process's output; to be called before Paddle is imported."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    # They name Paddle's modules or, raised on its behalf, ours; so they are told by their texts.
    for text in ("No ccache found", "\\s*Non compatible API"):
        warnings.filterwarnings("ignore", message=text)
