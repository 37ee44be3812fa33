"""The cache of engines, among real processes: one builds, the others wait, and a killed one leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_engine import fake_card

from pssdet.engines.cache import cached, is_engine_of, key_of
from pssdet.errors import BadInput, GateFailed
from pssdet.files import engine_cache, locked, locked_if_free

PLAN = "model.plan"
#: A build in a process of its own: notes that it began, and goes on when it is let.
BUILDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import write_engine
from pssdet.engines.cache import cached

cache, output, notes = map(Path, sys.argv[1:4])
key, gate = sys.argv[4], Path(sys.argv[5])

def build(folder):
    with notes.open("a") as stream:
        stream.write("began\\n")
    (folder / "half-done").write_text("...")
    while not gate.exists():
        time.sleep(0.01)
    (folder / "half-done").unlink()
    write_engine(folder, key)

found = cached(cache, key, output, build, lambda step: print(step, flush=True))
print("found" if found else "built", flush=True)
"""


def write_engine(folder, key, content="plan"):
    import msgspec

    from pssdet.models.card import ENGINE_CARD, FileRecord, encode

    (folder / PLAN).write_text(content)
    card = msgspec.structs.replace(fake_card(), files=(FileRecord.of(folder / PLAN),), key=key)
    (folder / ENGINE_CARD).write_bytes(encode(card))


def start(tmp_path, key="k", output="out", gate="."):
    """A process that builds, or waits in the middle of it until ``gate`` exists."""
    command = [sys.executable, "-c", BUILDER.format(tests=str(Path(__file__).parent))]
    arguments = [tmp_path / "cache", tmp_path / output, tmp_path / "notes", key, tmp_path / gate]
    paths = os.pathsep.join(
        [str(Path(__file__).parents[1] / "fakes"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def listed(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def begun(tmp_path):
    wait_until((tmp_path / "notes").exists)


class TestProcesses:
    def test_of_several_one_builds(self, tmp_path):
        first = start(tmp_path, gate="gate")
        begun(tmp_path)
        others = [start(tmp_path, output=f"out{index}") for index in range(3)]
        assert ["waiting" in process.stdout.readline() for process in others] == [True] * 3
        (tmp_path / "gate").touch()
        assert first.communicate(timeout=60)[0] == "built\n"
        assert [process.communicate(timeout=60)[0] for process in others] == ["found\n"] * 3
        assert (tmp_path / "notes").read_text() == "began\n"
        for folder in ("out", "out0", "out1", "out2"):
            assert is_engine_of("k", tmp_path / folder)

    def test_into_one_folder(self, tmp_path):
        processes = [start(tmp_path, key=key) for key in ("a", "b", "a")]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
        assert is_engine_of("a", tmp_path / "out") or is_engine_of("b", tmp_path / "out")
        assert listed(tmp_path / "out") == ["engine.json", PLAN]

    @pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGTERM])
    def test_a_killed_build_leaves_nothing_behind(self, tmp_path, killer):
        process = start(tmp_path, gate="gate")
        begun(tmp_path)
        process.send_signal(killer)
        process.wait(timeout=30)
        assert not (tmp_path / "out").exists()
        # The next build, of anything, clears up; the same build starts anew and is whole.
        other = start(tmp_path, key="other", output="other")
        assert other.wait(timeout=60) == 0
        assert [name for name in listed(tmp_path / "cache") if "partial" in name] == []
        again = start(tmp_path)
        assert again.communicate(timeout=60)[0] == "built\n"
        assert is_engine_of("k", tmp_path / "out")
        assert listed(tmp_path / "cache" / "k") == ["engine.json", PLAN]

    def test_whoever_waits_takes_over_from_a_killed_build(self, tmp_path):
        first = start(tmp_path, gate="gate")
        begun(tmp_path)
        second = start(tmp_path, output="second")
        assert "waiting" in second.stdout.readline()
        first.kill()
        assert second.communicate(timeout=60)[0] == "built\n"
        first.wait(timeout=30)
        assert is_engine_of("k", tmp_path / "second")
        assert listed(tmp_path / "second") == ["engine.json", PLAN]

    def test_clearing_up_spares_builds_that_run(self, tmp_path):
        running = start(tmp_path, gate="gate")
        begun(tmp_path)
        assert start(tmp_path, key="other", output="other").wait(timeout=60) == 0
        (tmp_path / "gate").touch()
        assert running.communicate(timeout=60)[0] == "built\n"
        assert running.returncode == 0
        assert is_engine_of("k", tmp_path / "out")


class TestEntries:
    def test_built_once(self, tmp_path):
        builds = []

        def build(folder):
            builds.append(folder)
            write_engine(folder, "k")

        assert not cached(tmp_path / "cache", "k", tmp_path / "a", build)
        assert cached(tmp_path / "cache", "k", tmp_path / "b", build)
        assert not cached(tmp_path / "cache", "l", tmp_path / "b", build)
        assert len(builds) == 2

    def test_a_failed_build_leaves_the_older_engine_and_nothing_else(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "engine.json").write_text("older")

        def fail(folder):
            (folder / PLAN).write_text("half")
            raise GateFailed("no")

        with pytest.raises(GateFailed):
            cached(tmp_path / "cache", "k", tmp_path / "out", fail)
        assert (tmp_path / "out" / "engine.json").read_text() == "older"
        assert listed(tmp_path / "cache") == ["k.lock"]

    def test_a_damaged_entry_is_built_again(self, tmp_path):
        cached(tmp_path / "cache", "k", tmp_path / "a", lambda folder: write_engine(folder, "k"))
        (tmp_path / "cache" / "k" / PLAN).unlink()
        (tmp_path / "cache" / "k" / PLAN).write_text("damaged")
        assert not cached(tmp_path / "cache", "k", tmp_path / "b", lambda folder: write_engine(folder, "k"))
        assert (tmp_path / "b" / PLAN).read_text() == "plan"

    def test_across_file_systems_files_are_copied(self, tmp_path, monkeypatch):
        def no_link(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr("pssdet.engines.cache.os.link", no_link)
        cached(tmp_path / "cache", "k", tmp_path / "a", lambda folder: write_engine(folder, "k"))
        assert is_engine_of("k", tmp_path / "a")
        assert (tmp_path / "a" / PLAN).stat().st_nlink == 1

    def test_what_is_an_engine_of_a_key(self, tmp_path):
        write_engine(tmp_path, "k")
        assert is_engine_of("k", tmp_path)
        assert not is_engine_of("l", tmp_path)
        (tmp_path / PLAN).write_text("other")
        assert not is_engine_of("k", tmp_path)
        assert not is_engine_of("k", tmp_path / "nowhere")

    def test_a_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(BadInput, match="choose another folder"):
            cached(tmp_path / "file" / "cache", "k", tmp_path / "out", lambda _: None)


def test_keys_are_of_the_content_not_of_its_order():
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    assert key_of({"a": 1, "b": [1, 2]}) != key_of({"a": 1, "b": [2, 1]})
    assert json.dumps(key_of({})).strip('"').isalnum()


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PSSDET_CACHE", str(tmp_path / "mine"))
    assert engine_cache() == tmp_path / "mine" / "engines"
    monkeypatch.delenv("PSSDET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_cache() == tmp_path / "pss-det" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_cache() == tmp_path / ".cache" / "pss-det" / "engines"


def test_a_lock_within_one_process(tmp_path):
    waits = []
    with locked(tmp_path / "deep" / "lock", lambda: waits.append(1)):
        with locked_if_free(tmp_path / "deep" / "lock") as free:
            assert not free
        with locked_if_free(tmp_path / "deep" / "another") as free:
            assert free
    with locked_if_free(tmp_path / "deep" / "lock") as free:
        assert free
    assert waits == []
