"""The benchmarks that need no GPU, and the fuzzers, start from any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tests/fuzz/*.py"))
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in FILES if "__main__" in path.read_text())


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, tmp_path):
    command = [sys.executable, str(ROOT / script), "--help"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_there_are_benchmarks():
    assert {"benchmarks/batches.py", "benchmarks/exports.py", "tests/fuzz/fuzz_checkpoints.py"} <= set(SCRIPTS)
