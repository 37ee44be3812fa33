"""The benchmarks that need no GPU start from any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script, tmp_path):
    command = [sys.executable, str(BENCHMARKS / script), "--help"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_there_are_benchmarks():
    assert {"batches.py", "exports.py", "fuzz_checkpoints.py"} <= set(SCRIPTS)
