"""Engines already built, by a key over everything that decides on the result of a build."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pssdet.errors import BadInput
from pssdet.files import locked, locked_if_free, staged_folder
from pssdet.models.card import read_engine_card

_PARTIAL = ".partial"
_LOCK = ".lock"


def key_of(decides: Mapping[str, Any]) -> str:
    """The key of a build: a hash over plain data, independent of its order."""
    content = json.dumps(decides, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


def is_engine_of(key: str, folder: Path) -> bool:
    """Whether a folder holds the engine of that key, whole."""
    return _whole(folder) and read_engine_card(folder).key == key


def cached(
    folder: Path,
    key: str,
    output: Path,
    build: Callable[[Path], None],
    progress: Callable[[str], None] = lambda _: None,
) -> bool:
    """Put the engine of that key into ``output``; ``build`` makes it, once, if the cache has none.

    Of several processes that want one engine at a time, one builds and the others wait for it. What an interrupted
    build wrote is removed at once, or, if its process was killed, by the next one that builds anything.

    Args:
        folder: of the cache.
        build: writes the engine's files, its card among them, into the empty folder that it is given.

    Returns:
        Whether the engine was in the cache.

    Raises:
        BadInput: a folder cannot be written to.
    """
    entry = folder / key
    try:
        with locked(
            folder / f"{key}{_LOCK}",
            waiting=lambda: progress("waiting for another process, which is building the same engine"),
        ):
            _sweep(folder)
            found = _whole(entry)
            if not found:
                _fill(entry, build)
            # Two builds into one folder at a time could leave the plan of one with the card of the other.
            with locked(folder / f"output-{key_of({'path': str(output.resolve())})}{_LOCK}"):
                _copy(entry, output)
    except PermissionError as error:
        raise BadInput(f"cannot write to {folder} ({error.strerror}); set PSSDET_CACHE to another folder") from error
    return found


def _fill(entry: Path, build: Callable[[Path], None]) -> None:
    partial = entry.with_name(entry.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a build of this key that was killed: its lock is ours now
    partial.mkdir(parents=True)
    try:
        build(partial)
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _whole(entry: Path) -> bool:
    """Whether the folder is an engine whose files are those of its card."""
    try:
        for file in read_engine_card(entry).files:
            file.verify(entry)
    except BadInput:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed builds of other engines left; those that still run hold their locks."""
    for partial in folder.glob(f"*{_PARTIAL}"):
        with locked_if_free(folder / f"{partial.name.removesuffix(_PARTIAL)}{_LOCK}") as free:
            if free:
                shutil.rmtree(partial, ignore_errors=True)


def _copy(entry: Path, output: Path) -> None:
    """Copy the entry to ``output``, which appears whole; links serve if possible, since nobody writes into them."""
    with staged_folder(output) as stage:
        for source in sorted(entry.iterdir()):
            try:
                os.link(source, stage / source.name)
            except OSError:
                shutil.copyfile(source, stage / source.name)
