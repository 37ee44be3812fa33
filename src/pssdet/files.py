"""Files that appear whole or not at all, hashes, locks between processes, the folder of all caches."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pssdet.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 20

#: Errors of writing for which the folder is to blame: no space, no quota, a name or file too long.
_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG, errno.EROFS}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content as lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write so that ``path`` holds either its old content or all of the new; raises as ``staged_file``."""
    with staged_file(path) as stage:
        stage.write_bytes(content)


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A path to write to, whose file becomes ``target`` when the block succeeds.

    A device or a pipe, such as ``/dev/stdout``, is written to directly: it must not be replaced.

    Raises:
        BadInput: the folder cannot be created or written to.
    """
    if _is_special(target):
        yield target
        return
    with staged_folder(target.parent) as stage:
        yield stage / target.name


def _is_special(path: Path) -> bool:
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:
        raise _unwritable(path.parent, error) from error


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``target`` when the block succeeds.

    When the block raises, ``target`` is as it was. Files of ``target`` that
    the block did not write stay, so a model folder keeps its engines. Cards
    (``*.json``) move last: whoever finds a new card finds its files too.

    Raises:
        BadInput: ``target`` is a file, or cannot be created or written to.
    """
    stage = _make_stage(target)
    try:
        yield stage
        _publish(stage, target)
    except OSError as error:
        if error.errno in _CANNOT_WRITE:
            raise _unwritable(target, error) from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _make_stage(target: Path) -> Path:
    try:
        if target.exists() and not target.is_dir():
            raise BadInput(f"{target} is a file, a folder is needed; choose another output folder")
        parent = next(p for p in (target, *target.absolute().parents) if p.is_dir())
        return Path(tempfile.mkdtemp(prefix=".pssdet-partial-", dir=parent))
    except OSError as error:
        raise _unwritable(target, error) from error


def _publish(stage: Path, target: Path) -> None:
    sources = sorted(stage.iterdir(), key=lambda path: (path.suffix == ".json", path.name))
    try:
        for source in sources:
            if (target / source.name).is_dir():
                raise BadInput(
                    f"{target / source.name} is a folder where a file must go; choose another output folder"
                )
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            source.replace(target / source.name)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> BadInput:
    reason = error.strerror or str(error)
    return BadInput(f"cannot write to {target} ({reason}); choose another output folder")


def read_arrays(path: Path, needed: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name; pickled ones are refused, nothing in the file is run.

    Raises:
        BadInput: it cannot be read, is no such file, or lacks one of the arrays ``needed``.
    """
    import numpy as np

    try:
        # Else NumPy takes the file for a single array or a pickle, and advises to trust it.
        with zipfile.ZipFile(path):
            pass
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is no intact .npz file of plain arrays") from error
    # What does not begin as an array comes as bytes.
    plain = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    if missing := sorted(set(needed) - set(plain)):
        raise BadInput(f"{path} has no array {missing[0]!r}")
    return plain


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock ``path`` for the block; the kernel releases it whatever ends the process.

    ``waiting`` is called if another process holds it. The file stays:
    removing it would let two processes hold a lock of the same name.

    Raises:
        BadInput: the file cannot be made.
    """
    with _opened(path) as descriptor:
        if not _taken(descriptor):
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock ``path`` for the block if it is free; says whether it is held. Raises as ``locked``."""
    with _opened(path) as descriptor:
        yield _taken(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock if nobody holds it; says whether it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The lock's file, made if it is missing; closing it gives the lock back."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(
            f"cannot lock {path} ({reason}); choose another folder, PSSDET_CACHE names that of caches"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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


def prune(folder: Path, most: int) -> None:
    """Delete the oldest files of a folder, so that the others have at most ``most`` bytes; the newest stays.

    Other processes may do the same, and may still read a file that is deleted.
    """
    found: list[tuple[float, int, Path]] = []
    for path in folder.glob("*"):
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    kept = 0
    for number, (_, size, path) in enumerate(sorted(found, reverse=True)):
        kept += size
        if number and kept > most:
            with suppress(OSError):
                path.unlink()
