"""The most memory that a fresh process holds which opens an engine and detects one picture."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.cpu_speed.candidates import ENGINES, Prepared, picture_of
from pssdet.console import Progress
from pssdet.errors import GateFailed

#: It imports what a user's program does, and nothing of the benchmarks.
_PROGRAM = """
import sys
import numpy as np
from pssdet.console import quiet_paddle
from pssdet.runtime.detector import Detector
quiet_paddle()
with Detector.load(sys.argv[1], max_batch=1) as detector:
    detector([np.load(sys.argv[2])])
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


class Peak(msgspec.Struct, frozen=True):
    """Peak resident memory in bytes: at the first opening, and at a later one with its caches filled."""

    first: int
    later: int


def peaks(prepared: Prepared, progress: Progress) -> dict[str, Peak]:
    """The peak of each candidate that has an engine, at the test size."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        picture = Path(folder) / "picture.npy"
        np.save(picture, picture_of(prepared.card.preprocessing))
        for name in ENGINES:
            if name in prepared.engines:
                progress(f"{prepared.card.model}: peak memory of {name}")
                cache = Path(folder) / name
                found[name] = Peak(*(_peak(prepared.engines[name], picture, cache) for _ in range(2)))
    return found


def _peak(engine: Path, picture: Path, cache: Path) -> int:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(engine), str(picture)],
        env=os.environ | {"PSSDET_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GateFailed(f"{engine} cannot detect a picture: {done.stderr.strip().splitlines()[-1:]}")
    return int(done.stdout.split()[-1]) * 1024
