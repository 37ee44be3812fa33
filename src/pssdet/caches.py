"""The folder of all caches: downloads, built engines, measured kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """``$PSSDET_CACHE``, ``$XDG_CACHE_HOME/pss-det`` or ``~/.cache/pss-det``."""
    if chosen := os.environ.get("PSSDET_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "pss-det"
    return Path("~/.cache/pss-det").expanduser()


def engine_cache() -> Path:
    """Folder of the engines built and kernels measured, beside the downloads."""
    return cache_home() / "engines"
