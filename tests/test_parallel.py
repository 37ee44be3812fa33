"""The run of the tests on several cores: what is slow is made once, memory and threads are shared out."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import parallel
import pytest

TESTS = Path(__file__).resolve().parent


class Factory:
    def __init__(self, base):
        self.base = base

    def getbasetemp(self):
        return self.base

    def mktemp(self, name):
        folder = self.base / f"{name}0"
        folder.mkdir()
        return folder


@pytest.fixture
def as_worker(monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")


def test_workers_share_a_folder(tmp_path, as_worker):
    made = []
    folders = []
    for name in ("gw0", "gw1"):
        (tmp_path / name).mkdir()
        folders.append(parallel.shared_folder(Factory(tmp_path / name), "slow", made.append))
    assert folders == [tmp_path / "slow"] * 2
    assert made == [tmp_path / "slow"]


def test_a_folder_whose_making_failed_is_made_again(tmp_path, as_worker):
    (tmp_path / "gw0").mkdir()

    def fail(_):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        parallel.shared_folder(Factory(tmp_path / "gw0"), "slow", fail)
    made = []
    parallel.shared_folder(Factory(tmp_path / "gw0"), "slow", made.append)
    assert len(made) == 1


def test_one_process_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert parallel.shared_folder(Factory(tmp_path), "slow", lambda folder: None) == tmp_path / "slow0"


def test_workers_are_limited_by_cores_and_memory(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 24 * 2**30 // 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert parallel.workers() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert parallel.workers() == 1


def test_a_worker_has_its_share_of_the_threads(tmp_path):
    (tmp_path / "test_threads.py").write_text(
        textwrap.dedent(
            f"""
            import os, sys
            sys.path.insert(0, {str(TESTS)!r})
            import parallel
            parallel.use_few_threads()
            parallel.limit_onnxruntime()

            def test_threads():
                import onnxruntime
                share = max(1, os.cpu_count() // 2)
                assert int(os.environ["OMP_NUM_THREADS"]) == share
                assert onnxruntime.SessionOptions().intra_op_num_threads == share
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", "-q"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "OMP_"))}
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout
