"""The environment of a run: commit, sources, packages, driver."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "plugins" / "dcnv2", ROOT / "plugins" / "device")  # of the DCNv2 kernels
NOT_KNOWN = "not known"
_QUERIES = {
    "driver": "driver_version",
    "clock now, MHz": "clocks.sm",
    "clock at most, MHz": "clocks.max.sm",
    "memory clock now, MHz": "clocks.mem",
    "power limit, W": "power.limit",
    "temperature, C": "temperature.gpu",
}

Run = Callable[[Sequence[str]], str]


def output_of(command: Sequence[str]) -> str:
    """What a command prints; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, cwd=ROOT)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def driver_figures(run: Run = output_of) -> dict[str, str]:
    """What nvidia-smi says of the first GPU."""
    query = ",".join(_QUERIES.values())
    answer = run(["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"])
    values = [value.strip() for value in answer.split(",")]
    if len(values) != len(_QUERIES):
        return dict.fromkeys(_QUERIES, NOT_KNOWN)
    return dict(zip(_QUERIES, values, strict=True))


def commit(run: Run = output_of) -> str:
    """The repository's commit, and whether files differ from it."""
    head = run(["git", "rev-parse", "HEAD"])
    if not head:
        return NOT_KNOWN
    changed = run(["git", "status", "--porcelain", "--", "plugins", "engines", "benchmarks/gpu"])
    return f"{head}, with changes" if changed else head


def hash_of(*folders: Path) -> str:
    """SHA-256 over the sources below the folders: names, sizes and contents."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in {".h", ".cpp", ".cu", ".cuh", ".py"}:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def describe() -> dict[str, str]:
    """Date, host, commit, sources and the driver's figures."""
    packages = {name: _version(name) for name in ("numpy", "torchvision", "tensorrt", "onnx", "cuda-bindings")}
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "sources of the plugins": hash_of(ROOT / "plugins"),
        "system": platform.platform(),
        "Python": platform.python_version(),
        **packages,
        **driver_figures(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
