"""The timing cache: measurements of kernels, kept in a file that several builds may share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pssdet.files import locked, write_atomically


def timing_cache_name(version: str, gpu: str) -> str:
    """File name of the cache of one TensorRT on one kind of GPU; measurements serve no other."""
    return re.sub(r"[^\w.-]+", "-", f"tensorrt-{version}-{gpu}").strip("-") + ".timing"


def load_timing_cache(config: Any, path: Path) -> None:
    """Give the builder the file's measurements, or an empty cache.

    A broken file, or one of another TensorRT, is not used: TensorRT would refuse its measurements.
    """
    with locked(_lock(path)):
        content = _read(path)
    cache = config.create_timing_cache(content)
    # TensorRT returns None for content that it cannot read.
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def save_timing_cache(config: Any, path: Path) -> None:
    """Add the build's measurements to the file, to which other builds may have written meanwhile.

    Raises:
        BadInput: the file cannot be written.
    """
    measured = config.get_timing_cache()
    if measured is None:
        return
    with locked(_lock(path)):
        content = _read(path)
        if content and (others := config.create_timing_cache(content)) is not None:
            measured.combine(others, ignore_mismatch=False)
        write_atomically(path, bytes(memoryview(measured.serialize())))


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
