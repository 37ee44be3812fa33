"""Golden files: what users script against, held byte for byte in ``tests/data/golden``.

A change that is meant is accepted with ``UPDATE_GOLDEN=1 pytest tests/golden`` and read in the diff.
"""

import difflib
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "data" / "golden"

#: Lines of a difference that are shown; the first ones say what changed.
_SHOWN = 60

#: Values of a card that differ between machines, runs and versions of libraries; the JSON around them is held.
_VARYING = (
    (r'("(?:difference|share)": )[-+.e\d]+', r'\1"<measured>"'),
    (r'("build_seconds": )[.e\d]+', r'\1"<seconds>"'),
    (r'("machine": )".*"', r'\1"<machine>"'),
    (r'("ranges_sha256": )"[0-9a-f]{64}"', r'\1"<sha256>"'),
    # Of a file that libraries write. Hashes of checkpoints and recipes are those of files in this repository.
    (r'("name": ".*",\s+"sha256": )"[0-9a-f]{64}"(,\s+"bytes": )\d+', r'\1"<sha256>"\2"<bytes>"'),
)


def assert_golden(name, text):
    """``text`` is the golden file of that name in ``tests/data/golden``."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    expected = path.read_bytes().decode()
    lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), name, "obtained", lineterm="", n=2)
    difference = "\n".join(islice(lines, _SHOWN))
    assert text == expected, f"{name} changed; UPDATE_GOLDEN=1 accepts what is meant\n{difference}"


def normalised(card, *folders):
    """A card's JSON with a placeholder for each value that may vary, and for the paths of ``folders``."""
    text = card.decode()
    for folder in folders:
        text = text.replace(str(folder), "<folder>")
    for pattern, placeholder in _VARYING:
        text = re.sub(pattern, placeholder, text)
    return re.sub(r'"(?:versions|environment)": \{.*?\}', _without_versions, text, flags=re.DOTALL)


def _without_versions(block):
    return re.sub(r'(": )".*"', r'\1"<version>"', block[0])


def console_script():
    """Where ``pssdet`` starts, as MODULE:FUNCTION; pyproject.toml says it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["scripts"]["pssdet"]


def pssdet(*arguments, folder):
    """Run the console script in ``folder``, without a network."""
    module, _, function = console_script().partition(":")
    program = f"import sys; from {module} import {function}; sys.argv[0] = 'pssdet'; {function}()"
    return _run([sys.executable, "-c", program, *map(str, arguments)], folder)


def script(path, *arguments, folder):
    """Run an entry script in ``folder``, without a network."""
    return _run([sys.executable, str(ROOT / path), *map(str, arguments)], folder)


def _run(command, folder):
    nowhere = "http://127.0.0.1:9"
    environment = os.environ | {
        "https_proxy": nowhere,
        "http_proxy": nowhere,
        "PSSDET_CACHE": str(folder / "cache"),
    }
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=300
    )
