"""The machine that figures come from: what it is, how much memory a process took, and who else was busy (Linux)."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np

from pssdet.machine import processor, usable_cores
from pssdet.models.card import installed_versions

PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_KIB = 1024
#: Cores that others may use before a time counts as disturbed.
QUIET = 0.1


def environment(*packages: str) -> dict[str, str]:
    """Processor, cores, memory and versions."""
    return {
        "processor": f"{processor()}, {platform.machine()}",
        "cores": str(usable_cores()),
        "memory": f"{_meminfo('MemTotal') / 1e9:.0f} GB",
        "system": f"Linux {platform.release()}",
        **installed_versions("numpy", *packages),
    }


def as_line(facts: dict[str, str]) -> str:
    """The environment as one sentence."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) + "."


def available_memory() -> int:
    """Bytes that processes could still get without swapping."""
    return _meminfo("MemAvailable")


def memory_now() -> int:
    """Bytes of memory that this process occupies."""
    return _status("self", "VmRSS")


def peak_memory() -> int:
    """Most bytes that this process ever occupied; unlike ``ru_maxrss`` this knows nothing of its parent."""
    return _status("self", "VmHWM")


@contextmanager
def others() -> Iterator[list[float]]:
    """Processor cores that everything but this process and its finished children used in the block, in a list of one.

    Times are not to be trusted where that is more than ``QUIET``.
    """
    used: list[float] = []
    started, busy, own = perf_counter(), _busy_seconds(), _own_seconds()
    yield used
    wall = perf_counter() - started
    used.append(max(0.0, (_busy_seconds() - busy - (_own_seconds() - own)) / wall))


@contextmanager
def peak_of_children(seconds: float = 0.02) -> Iterator[list[int]]:
    """Most bytes that all descendants of this process occupied at one time, in a list of one.

    Sampled every ``seconds``; pages that two processes share count twice.
    """
    peak: list[int] = []
    done, most = threading.Event(), 0

    def watch() -> None:
        nonlocal most
        while not done.wait(seconds):
            most = max(most, sum(_status(pid, "VmRSS") for pid in _descendants(os.getpid())))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak.append(most)


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


def _status(pid: int | str, field: str) -> int:
    """A field of a process's status, in bytes; 0 if the process has ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{field}:")), 0)


def _meminfo(field: str) -> int:
    lines = (PROC / "meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{field}:"))


def _busy_seconds() -> float:
    """Of all processors since the machine started: user, nice, system, irq, softirq, steal."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, (PROC / "stat").read_text().split()[1:9])
    return float(np.sum([user, nice, system, irq, softirq, steal])) / _TICK


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
