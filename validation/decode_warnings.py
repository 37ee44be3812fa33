"""What image decoders only print: libjpeg goes on with grey where a file is damaged in its middle."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def told_by_decoders() -> Iterator[list[str]]:
    """Collect the lines that libraries write to the process's standard error during the block.

    The list is filled when the block ends. Not for use while other threads write there.
    """
    complaints: list[str] = []
    saved = os.dup(_STDERR)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield complaints
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            file.seek(0)
            complaints += [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
