"""What the benchmarks without a GPU share: detectors, the pages they write, memory and others' load (Linux)."""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated, TypeAlias

import cyclopts

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks.documents import RESULTS, document, publish
from pssdet.errors import BadInput
from pssdet.machine import processor, usable_cores
from pssdet.models.card import installed_versions
from pssdet.models.zoo import PUBLISHED, bundled

#: The detectors by the names that reports use, and what the tests' ``row_model`` calls them.
ROWS: dict[str, str | int] = {
    **{entry.name: entry.name for entry in bundled()},
    **{f"row{entry.row}": entry.row for entry, _ in PUBLISHED},
}
#: Names of detectors on the command line.
Names: TypeAlias = Annotated[tuple[str, ...], cyclopts.Parameter(consume_multiple=True)]
PACKAGES = ("numpy", "paddlepaddle", "paddle2onnx", "onnx", "onnxruntime", "openvino", "opencv-python-headless")

PROC = Path("/proc")
QUIET = 0.1  # cores that others may use before a time counts as disturbed


def check_names(names: Iterable[str]) -> None:
    """Raise ``BadInput`` for a name that is not in ``ROWS``."""
    if unknown := [name for name in names if name not in ROWS]:
        raise BadInput(f"there is no detector {unknown[0]!r}; choose from {', '.join(ROWS)}")


def environment() -> dict[str, str]:
    """Processor, cores, memory and versions."""
    return {
        "processor": f"{processor()}, {platform.machine()}",
        "cores": str(usable_cores()),
        "memory": f"{memory('meminfo', 'MemTotal') / 1e9:.0f} GB",
        "system": f"Linux {platform.release()}",
        **installed_versions(*PACKAGES),
    }


def write_page(
    script: str,
    title: str,
    *blocks: str | Iterable[str],
    before: str = "",
    arguments: str = "",
    folder: Path = RESULTS,
) -> None:
    """Write and print the page of a benchmark, named after its script.

    ``blocks`` follow a line about the machine that ``before`` opens; the command at the end has ``arguments``.
    """
    machine = "; ".join(f"{name} {value}" for name, value in environment().items())
    made = f"Made by `python benchmarks/{Path(script).name}{arguments}`."
    publish(folder / f"{Path(script).stem}.md", document(f"# {title}", f"{before}{machine}.", *blocks, made))


def percentiles(values: Mapping[str, float]) -> str:
    """The 50th and 99th percentile and the maximum, for a cell."""
    return " / ".join(f"{values[name]:.2g}" for name in ("p50", "p99", "max"))


def memory(file: str, field: str) -> int:
    """A field of ``meminfo`` or of a process's ``status`` in ``/proc``, in bytes; 0 if the process has ended.

    Unlike ``ru_maxrss``, a status counts nothing of the parent's memory.
    """
    try:
        lines = (PROC / file).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


@contextmanager
def others() -> Iterator[list[float]]:
    """Cores that everything but this process and its descendants used in the block, in a list of one."""
    used: list[float] = []
    started, before = perf_counter(), _seconds_of_others()
    yield used
    used.append(max(0.0, (_seconds_of_others() - before) / (perf_counter() - started)))


def _seconds_of_others() -> float:
    """Processor time since the machine started without idling and waiting, less that of this process.

    Its children count as its own: those that have ended, and those that run with what they started.
    """
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    busy = user + nice + system + irq + softirq + steal - sum(map(_ticks, _descendants(os.getpid())))
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _ticks(pid: int) -> int:
    """Processor time of a process and of its children that have ended; 0 if it has ended itself."""
    try:
        after_name = (PROC / str(pid) / "stat").read_text().rpartition(")")[2]
    except OSError:
        return 0
    return sum(map(int, after_name.split()[11:15]))


@contextmanager
def peak_of_children(seconds: float = 0.02) -> Iterator[list[int]]:
    """Most bytes that all descendants held at one time, in a list of one; shared pages count twice."""
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            peak[0] = max(peak[0], sum(memory(f"{pid}/status", "VmRSS") for pid in _descendants(os.getpid())))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _descendants(pid: int) -> list[int]:
    """Processes that this one started, and those that they started; threads of a process have children too."""
    found: list[int] = []
    for children in (PROC / str(pid) / "task").glob("*/children"):
        try:
            direct = [int(child) for child in children.read_text().split()]
        except OSError:  # it has ended
            continue
        for child in direct:
            found += [child, *_descendants(child)]
    return found
