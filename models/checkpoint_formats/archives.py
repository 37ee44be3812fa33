"""The files of a checkpoint in a folder or in a tar archive of one, read as untrusted input.

Nothing is extracted: files are views of the archive's bytes. ``tarfile`` reads the headers only, since
its ``TarFile`` follows whatever offsets an archive names and in some Python releases never comes back.
"""

from __future__ import annotations

import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from pssdet.models.checkpoint_formats.untrusted import AGAIN, FOREIGN, Refused

GZIP = b"\x1f\x8b"
MAX_BYTES = 4 << 30

#: Three hundred to seven hundred parameters, and a few optimiser variables for each.
_MAX_FILES = 5_000
#: Long names take a header of their own.
_MAX_HEADERS = 3 * _MAX_FILES
_MAX_NAME = 512
_MAX_EXTENSION = 1 << 16
#: Trained weights hardly compress.
_MAX_RATIO = 8
_BLOCK = 512
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n]{1,256})=")
_KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link", tarfile.GNUTYPE_SPARSE: "a sparse file"}


def list_folder(folder: Path) -> list[str]:
    """The names of the files in a folder, sorted; all are regular, few enough and small enough.

    Raises:
        Refused: they are not.
        OSError: the folder cannot be read.
    """
    names, total = [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            require_name(entry.name)
            if not entry.is_file(follow_symlinks=False):
                raise Refused(
                    f"holds {entry.name}, which is not a regular file; name the folder of a checkpoint"
                )
            names.append(entry.name)
            total += entry.stat(follow_symlinks=False).st_size
            if len(names) > _MAX_FILES or total > MAX_BYTES:
                raise Refused(f"holds more than {_MAX_FILES} files or {MAX_BYTES >> 30} GiB; {FOREIGN}")
    if not names:
        raise Refused("is a folder without files; name a checkpoint")
    return sorted(names)


def unpack_gzip(content: bytes) -> bytes:
    """What was compressed, as long as it is not many times larger.

    Raises:
        Refused: it is damaged, followed by something else or much too large.
    """
    limit = min(MAX_BYTES, _MAX_RATIO * len(content) + (1 << 20))
    inflater = zlib.decompressobj(wbits=31)
    try:
        unpacked = inflater.decompress(content, limit + 1)
    except zlib.error as error:
        raise Refused(f"is damaged (compressed with gzip: {error}); {AGAIN}") from error
    if len(unpacked) > limit:
        raise Refused(f"is compressed with gzip to less than 1/{_MAX_RATIO}, which no weights are; {FOREIGN}")
    if not inflater.eof:
        raise Refused(f"is compressed with gzip and ends too early; {AGAIN}")
    if inflater.unused_data:
        raise Refused(f"has {len(inflater.unused_data)} bytes after its gzip stream; {AGAIN}")
    return unpacked


def is_tar(content: bytes) -> bool:
    """Whether a tar archive begins here, damaged or not."""
    if content[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(content[:_BLOCK], "utf-8", "replace")
    except tarfile.TarError:
        return False
    return True


def list_tar(content: bytes) -> dict[str, memoryview]:
    """The files of a tar archive of one folder, by their names in it.

    Raises:
        Refused: the archive is damaged, leads out of its folder, or holds something else than files.
    """
    files: dict[str, memoryview] = {}
    folders = set()
    for path, kind, data in _members(memoryview(content)):
        require_name(path)
        if path.startswith("/") or ".." in path.split("/"):
            raise Refused(f"is a tar archive whose member {path} leads out of its folder; {FOREIGN}")
        if kind == tarfile.DIRTYPE:
            continue
        if kind not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            raise Refused(
                f"is a tar archive whose member {path} is {_KINDS.get(kind, 'a special file')}; {FOREIGN}"
            )
        folder, _, name = path.rpartition("/")
        if name in files:
            raise Refused(f"is a tar archive that holds {name} twice; {FOREIGN}")
        files[name] = data
        folders.add(folder)
        if len(folders) > 1 or len(files) > _MAX_FILES:
            raise Refused(f"is a tar archive of several folders or of more than {_MAX_FILES} files; {FOREIGN}")
    return files


def require_name(name: str) -> None:
    """Raise ``Refused`` unless a file's name is short and printable."""
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise Refused(f"holds a file whose name is no short printable text; {FOREIGN}")


def _members(view: memoryview) -> Iterator[tuple[str, bytes, memoryview]]:
    """Path, kind and content of each member; extended headers give the next one's name."""
    position, renamed = 0, ""
    for _ in range(_MAX_HEADERS):
        block = bytes(view[position : position + _BLOCK])
        if block == bytes(_BLOCK):
            _require_zeros(view[position:])
            return
        header = _header(block, position)
        start = position + _BLOCK
        end = start + (0 if header.isdir() else header.size)
        if end < start or end > len(view):
            raise Refused(f"is a tar archive that ends too early or is damaged (near byte {position}); {AGAIN}")
        data = view[start:end]
        position = end + -end % _BLOCK
        match header.type:
            case tarfile.GNUTYPE_LONGNAME:
                renamed = _short(data, position).rstrip(b"\0").decode("utf-8", "replace")
            case tarfile.XHDTYPE:
                renamed = _pax_path(_short(data, position), position) or renamed
            case tarfile.XGLTYPE:
                pass  # its defaults do not matter here
            case kind:
                yield renamed or header.name, kind, data
                renamed = ""
    raise Refused(f"is a tar archive of more than {_MAX_HEADERS} headers; {FOREIGN}")


def _header(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.TarError as error:
        what = "ends too early" if len(block) < _BLOCK else "is damaged"
        raise Refused(f"is a tar archive that {what} (the header at byte {position}); {AGAIN}") from error


def _require_zeros(rest: memoryview) -> None:
    """What follows the end of an archive fills its last record, and no more."""
    if len(rest) > _MAX_EXTENSION * _BLOCK or any(bytes(rest)):
        raise Refused(f"is a tar archive with something after its end; {AGAIN}")


def _short(data: memoryview, position: int) -> bytes:
    if len(data) > _MAX_EXTENSION:
        raise Refused(f"is a tar archive with an endless name (at byte {position}); {FOREIGN}")
    return bytes(data)


def _pax_path(records: bytes, position: int) -> str:
    """The path in an extended header of records ``LENGTH KEY=VALUE``; empty if it gives none."""
    path, start = "", 0
    while start < len(records):
        found = _PAX_RECORD.match(records, start)
        end = start + int(found[1]) if found else 0
        if found is None or not found.end() < end <= len(records) or records[end - 1 : end] != b"\n":
            raise Refused(f"is a tar archive that is damaged (the extended header at byte {position}); {AGAIN}")
        if found[2] == b"size" or found[2].startswith(b"GNU.sparse"):
            raise Refused(f"is a tar archive with a sparse file (at byte {position}); {FOREIGN}")
        if found[2] == b"path":
            path = records[found.end() : end - 1].decode("utf-8", "replace")
        start = end
    return path
