"""What the machine is that figures come from (Linux)."""

from __future__ import annotations

import os
import platform
from pathlib import Path

#: How the names of vector and matrix instructions begin, on x86 and on Arm.
_VECTOR = ("sse", "ssse", "avx", "fma", "f16c", "amx", "asimd", "fphp", "bf16", "i8mm", "sve", "sme")


def processor() -> str:
    """The processor's name, as far as the system gives one."""
    try:
        return _field_of_cpuinfo("model name") or "unknown processor"
    except OSError:
        return platform.processor()


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets by Linux's names, e.g. ``avx512_vnni``; none where it gives none."""
    try:
        return frozenset((_field_of_cpuinfo("flags") or _field_of_cpuinfo("Features")).split())
    except OSError:
        return frozenset()


def vector_instructions() -> list[str]:
    """Those of ``cpu_flags`` by which libraries choose their kernels, sorted."""
    return sorted(flag for flag in cpu_flags() if flag.startswith(_VECTOR))


def _field_of_cpuinfo(name: str) -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0))
