"""Downloads from a server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models import download
from pssdet.models.download import fetch
from pssdet.models.parameters import resolve_weights

CONTENT = bytes(range(256)) * 1000
OTHER = CONTENT[::-1]
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(ThreadingHTTPServer):
    """One file, served as the attributes say; ``requests`` lists the Range header of every request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.modified = ""
        self.status = 0
        self.ranges = True
        self.heeds_if_range = True
        self.sends_length = True
        self.break_after = -1
        self.location = ""
        self.shift = 0
        self.delay = 0.0
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/models/file.pdparams"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(self.headers["Range"])
        time.sleep(server.delay)
        if server.status or (server.location and self.path != server.location):
            self.send_response(server.status or 302)
            if server.location:
                self.send_header("Location", server.location)
            self.end_headers()
            return
        start = self._start()
        if start >= len(server.content):
            self.send_error(416)
            return
        rest = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start + server.shift}-{len(server.content) - 1}/{len(server.content)}"
            )
        if server.sends_length:
            self.send_header("Content-Length", str(len(rest)))
        for name, value in (("ETag", server.etag), ("Last-Modified", server.modified)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client may have gone
            self.wfile.write(rest if server.break_after < 0 else rest[: server.break_after])

    def _start(self):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = self.headers["If-Range"] in (self.server.etag, self.server.modified)
        return int(asked[1]) if asked and self.server.ranges and (same or not self.server.heeds_if_range) else 0


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "deep" / "cache"


def _break_off(server, cache, after=1000):
    """Leave a part of the file behind, as a connection that broke off does."""
    server.break_after = after
    with pytest.raises(EnvironmentMissing, match=rf"after {after} of {len(server.content)} bytes.*--weights"):
        fetch(server.url, cache=cache)
    server.break_after = -1
    assert [path.suffix for path in _left(cache)] == [".part", ".json"]
    assert _left(cache)[0].stat().st_size == after


def _left(cache: Path) -> list[Path]:
    """What lies in the cache beside the lock."""
    return sorted((path for path in cache.iterdir() if path.suffix != ".lock"), key=lambda path: path.name)


def test_a_file_is_fetched_once(server, cache):
    path = fetch(server.url, SHA256, cache=cache)
    assert path.parent == cache
    assert path.name.endswith("-file.pdparams")
    assert path.read_bytes() == CONTENT
    assert _left(cache) == [path]
    server.content = OTHER
    assert fetch(server.url, SHA256.upper(), cache=cache) == path
    assert fetch(server.url, cache=cache) == path
    assert path.read_bytes() == CONTENT
    assert server.requests == [None]


def test_urls_with_the_same_base_name_are_kept_apart(server, cache):
    first = fetch(server.url, cache=cache)
    server.content = OTHER
    second = fetch(server.url.replace("models", "more"), cache=cache)
    third = fetch(f"{server.url}?v=2", cache=cache)
    assert len({first, second, third}) == 3
    assert first.read_bytes() == CONTENT
    assert second.read_bytes() == third.read_bytes() == OTHER
    assert all(path.name.endswith("-file.pdparams") for path in (second, third))


@pytest.mark.parametrize("end", ["", "%2e%2e%2fup", "[/red]", "a%00b", "x" * 300])
def test_odd_names_stay_in_the_cache(server, cache, end):
    path = fetch(server.url.replace("file.pdparams", end), cache=cache)
    assert path.parent == cache
    assert _left(cache) == [path]
    assert len(path.name) < 120


def test_the_cache_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("PSSDET_CACHE", raising=False)
    assert fetch(server.url).parent == tmp_path / "home" / ".cache" / "pss-det"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch(server.url).parent == tmp_path / "xdg" / "pss-det"
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "own"))
    assert fetch(server.url).parent == tmp_path / "own"


@pytest.mark.parametrize(("etag", "modified"), [('"one"', ""), ("", "Tue, 01 Jun 2021 00:00:00 GMT")])
def test_a_broken_download_is_continued(server, cache, etag, modified):
    server.etag, server.modified = etag, modified
    _break_off(server, cache, 1000)
    part = _left(cache)[0]
    part.write_bytes(b"!" + part.read_bytes()[1:])  # shows that these bytes are not sent again
    assert fetch(server.url, cache=cache).read_bytes() == b"!" + CONTENT[1:]
    assert server.requests == [None, "bytes=1000-"]
    assert len(_left(cache)) == 1


def test_a_download_broken_twice(server, cache):
    _break_off(server, cache, 1000)
    server.break_after = 500
    with pytest.raises(EnvironmentMissing, match="after 1500 of"):
        fetch(server.url, cache=cache)
    server.break_after = -1
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000-", "bytes=1500-"]


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_is_started_over(server, cache, heeds):
    _break_off(server, cache)
    server.content, server.etag, server.heeds_if_range = OTHER, '"two"', heeds
    assert fetch(server.url, cache=cache).read_bytes() == OTHER
    assert server.requests == [None, "bytes=1000-"] + ([] if heeds else [None])


def test_another_range_than_asked_for_is_not_appended(server, cache):
    _break_off(server, cache)
    server.shift = -10
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000-", None]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_validator_a_download_starts_over(server, cache, etag):
    server.etag = etag
    _break_off(server, cache)
    server.content = OTHER
    assert fetch(server.url, cache=cache).read_bytes() == OTHER
    assert server.requests == [None, None]


def test_a_server_without_ranges(server, cache):
    _break_off(server, cache)
    server.ranges = False
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000-"]


def test_a_part_that_is_longer_than_the_file(server, cache):
    _break_off(server, cache)
    server.content, server.heeds_if_range = CONTENT[:700], False
    assert fetch(server.url, cache=cache).read_bytes() == CONTENT[:700]
    assert server.requests == [None, "bytes=1000-", None]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"validator": 3}', b'{"validator": "a\\nb"}', b"\xff"])
def test_a_damaged_note_starts_over(server, cache, note):
    _break_off(server, cache)
    _left(cache)[1].write_bytes(note)
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_a_broken_file_of_unknown_length_is_found_by_its_hash(server, cache):
    server.sends_length, server.break_after = False, 1000
    with pytest.raises(BadInput, match=SHA256):
        fetch(server.url, SHA256, cache=cache)
    server.break_after = -1
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT


def test_another_content_is_removed(server, cache):
    wrong = "0" * 64
    with pytest.raises(BadInput, match=f"{SHA256}, not {wrong}.*--weights") as caught:
        fetch(server.url, wrong, cache=cache)
    assert caught.value.exit_code == 2
    assert _left(cache) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache):
    path = fetch(server.url, SHA256, cache=cache)
    path.write_bytes(CONTENT[:-1])
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    server.content = OTHER
    with pytest.raises(BadInput):
        fetch(server.url, SHA256, cache=cache)
    assert _left(cache) == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, BadInput),
        (403, BadInput),
        (500, EnvironmentMissing),
        (503, EnvironmentMissing),
        (429, EnvironmentMissing),
        (204, EnvironmentMissing),
        (206, EnvironmentMissing),
        (416, BadInput),
    ],
)
def test_answers_without_the_file(server, cache, status, error):
    server.status = status
    with pytest.raises(error, match=f"answers {status}.*--weights"):
        fetch(server.url, cache=cache)
    assert _left(cache) == []


def test_an_error_keeps_the_part(server, cache):
    _break_off(server, cache)
    server.status = 503
    with pytest.raises(EnvironmentMissing):
        fetch(server.url, cache=cache)
    server.status = 0
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=1000-"


def test_redirections(server, cache):
    server.location = "/elsewhere"
    assert fetch(server.url, SHA256, cache=cache).read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("location", "words"), [("file:///etc/passwd", "not allowed"), ("ftp://127.0.0.1/x", "unknown url type")]
)
def test_redirections_leave_http_never(server, cache, location, words):
    server.location = location
    with pytest.raises((BadInput, EnvironmentMissing), match=words):
        fetch(server.url, cache=cache)
    assert _left(cache) == []


def test_no_server(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x.pdparams"
        with pytest.raises(EnvironmentMissing, match=r"refused.*--weights FILE") as caught:
            fetch(url, cache=cache)
    assert caught.value.exit_code == 3
    assert _left(cache) == []


def test_no_such_host(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(EnvironmentMissing, match="--weights FILE"):
        fetch("http://no-such-host.invalid/x.pdparams", cache=cache)


def test_a_server_that_says_nothing(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.1)
    server.delay = 0.5
    with pytest.raises(EnvironmentMissing, match="timed out"):
        fetch(server.url, cache=cache)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "ftp://host/x",
        "http://",
        "http:///x",
        "http://[::1/x",
        "http://host:port/x",
        "http://host/a b",
        "http://host/a\nb",
        "http://host/\u00e4",
    ],
)
def test_what_is_no_url(cache, url):
    with pytest.raises(BadInput, match="not an http") as caught:
        fetch(url, cache=cache)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_a_cache_that_cannot_be(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="PSSDET_CACHE"):
        fetch(server.url, cache=tmp_path / "file" / "cache")
    assert server.requests == []


def test_simultaneous_downloads_share_one(server, cache, capsys):
    server.delay = 0.3
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(server.url, SHA256, cache=cache))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in found] == [CONTENT] * 4
    assert server.requests == [None]
    assert "waiting for another download" in capsys.readouterr().err


def test_nothing_is_written_to_stdout(server, cache, capsys):
    fetch(server.url, cache=cache)
    assert capsys.readouterr().out == ""


def test_weights_are_a_file_a_folder_or_a_url(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"x")
    assert resolve_weights(str(path)) == path
    assert resolve_weights(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_weights("~/x.pdparams") == path
    assert resolve_weights(server.url, SHA256).read_bytes() == CONTENT
    with pytest.raises(BadInput, match="sha256"):
        resolve_weights(f"{server.url}?", "0" * 64)


@pytest.mark.parametrize("source", ["", "missing.pdparams", "~nobody-here/x", "x" * 300, "file:///etc/passwd"])
def test_weights_that_are_neither(source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"http\(s\)"):
        resolve_weights(source)
