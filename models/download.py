"""Downloads that resume: a published checkpoint, fetched once into a cache folder."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib import error as urlerror
from urllib import request
from urllib.parse import unquote, urlsplit

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pssdet.console import ERR
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import cache_home, locked, sha256_of

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30.0
_NUMBER = "[0-9]{1,15}"
_WAITING = "waiting for another download of the same file"
_WAY_OUT = "download it elsewhere and pass --weights FILE"
_RESUMES = f"run the command again to continue, or {_WAY_OUT}"


class _PartUseless(Exception):
    """The part of a file that is there cannot be continued."""


def fetch(url: str, sha256: str = "", *, cache: Path | None = None) -> Path:
    """The cached file of a URL, downloaded if it is not there yet; its name ends as the URL does.

    An interrupted download leaves a ``.part`` file, which the next call continues if the
    server still has the same file. Processes that want the same file wait for each other.

    Args:
        url: http or https.
        sha256: what the content must hash to, as hexadecimal digits; empty: anything.
        cache: folder of the file; else that of ``cache_home``.

    Raises:
        BadInput: the URL is none or leads nowhere, the content is another one, or the cache is not writable.
        EnvironmentMissing: the network or the server fails.
    """
    _check_url(url)
    target = (cache or cache_home()) / _cache_name(url)
    with _local_errors(target.parent):
        if not _is_cached(target, sha256):
            with locked(target.with_name(f"{target.name}.lock"), lambda: ERR.print(_WAITING)):
                _fetch_to(target, url, sha256)
    return target


def _fetch_to(target: Path, url: str, sha256: str) -> None:
    """Download with the lock held, unless another process just did."""
    if _is_cached(target, sha256):
        return
    target.unlink(missing_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        _complete(url, part)
    except _PartUseless:
        _forget(part)
        _complete(url, part)
    _verify(url, part, sha256)
    part.replace(target)
    _forget(part)


def _is_cached(target: Path, sha256: str) -> bool:
    return target.is_file() and (not sha256 or sha256_of(target) == sha256.lower())


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise BadInput(f"{url!r} is not an http(s) URL; check it, or pass --weights FILE")


def _cache_name(url: str) -> str:
    """A file name that ends as the URL's path does and is another one for every URL."""
    name = re.sub(r"[^\w.+-]", "_", unquote(urlsplit(url).path.rsplit("/", 1)[-1]), flags=re.ASCII)
    return f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name[-100:] or 'download'}"


@contextmanager
def _local_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(
            f"cannot keep downloads in {folder} ({reason}); set PSSDET_CACHE to another folder"
        ) from error


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except urlerror.HTTPError as error:
        answer = f"{url}: the server answers {error.code} {error.reason}"
        if error.code in {408, 429} or error.code >= 500:
            raise EnvironmentMissing(f"{answer}; try again later, or {_WAY_OUT}") from error
        raise BadInput(f"{answer}; check the URL, or {_WAY_OUT}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", "") or error
        raise EnvironmentMissing(f"{url} cannot be reached or broke off ({reason}); {_RESUMES}") from error


def _complete(url: str, part: Path) -> None:
    """Download what ``part`` lacks; raises ``_PartUseless`` if the server now has another file."""
    total: int | None
    asked = _resume_headers(part)
    with _network_errors(url):
        response = _open(url, asked)
    with response:
        if response.status == 206 and asked:
            total = _resumed_total(response.headers, part.stat().st_size, asked)
        elif response.status == 200:
            total = _length(response.headers)
            part.write_bytes(b"")
            _validator_file(part).write_text(json.dumps(_validator(response.headers)))
        else:
            raise EnvironmentMissing(f"{url}: the server answers {response.status}, not the file; {_WAY_OUT}")
        _append(response, url, part, total)
    size = part.stat().st_size
    if total is not None and size != total:
        raise EnvironmentMissing(f"{url} broke off after {size} of {total} bytes; {_RESUMES}")


def _open(url: str, headers: Mapping[str, str]) -> Any:
    """The answer to a GET request; redirections may lead to http and https only.

    Raises ``_PartUseless`` if the server has fewer bytes than were asked for.
    """
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPRedirectHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    agent = {"User-Agent": "pss-det", "Accept-Encoding": "identity"}
    try:
        return opener.open(request.Request(url, headers={**agent, **headers}), timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urlerror.HTTPError as error:
        if error.code == 416 and headers:
            error.close()
            raise _PartUseless from error
        raise


def _resume_headers(part: Path) -> dict[str, str]:
    """What asks the server for the rest of the same file; empty if that cannot be asked."""
    try:
        size = part.stat().st_size
        validator = json.loads(_validator_file(part).read_text())["validator"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    if not isinstance(validator, str) or not validator or not validator.isprintable():
        return {}
    return {"Range": f"bytes={size}-", "If-Range": validator}


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _validator(headers: Message) -> dict[str, str]:
    """What identifies this version of the file; a weak ETag does not say that bytes are equal."""
    etag = headers.get("ETag", "")
    return {"validator": etag if etag.startswith('"') else headers.get("Last-Modified", "")}


def _length(headers: Message) -> int | None:
    length = headers.get("Content-Length", "")
    return int(length) if re.fullmatch(_NUMBER, length) else None


def _resumed_total(headers: Message, size: int, asked: Mapping[str, str]) -> int:
    """Size of the whole file, from an answer that is checked to be the rest of the same file."""
    span = re.fullmatch(f"bytes ({_NUMBER})-{_NUMBER}/({_NUMBER})", headers.get("Content-Range", ""))
    known = {headers.get("ETag"), headers.get("Last-Modified")} - {None}
    if span is None or int(span[1]) != size or (known and asked["If-Range"] not in known):
        raise _PartUseless
    return int(span[2])


def _append(response: IO[bytes], url: str, part: Path, total: int | None) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)
    with progress, part.open("ab") as stream:
        task = progress.add_task(urlsplit(url).path.rsplit("/", 1)[-1], total=total, completed=stream.tell())
        while chunk := _read_chunk(response, url):
            stream.write(chunk)
            progress.advance(task, len(chunk))
        stream.flush()
        os.fsync(stream.fileno())


def _read_chunk(response: IO[bytes], url: str) -> bytes:
    with _network_errors(url):
        return response.read(_CHUNK)


def _verify(url: str, part: Path, sha256: str) -> None:
    if sha256 and (found := sha256_of(part)) != sha256.lower():
        _forget(part)
        raise BadInput(
            f"{url} gave a file with sha256 {found}, not {sha256.lower()}; it was removed: "
            f"run the command again, or {_WAY_OUT}"
        )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)
