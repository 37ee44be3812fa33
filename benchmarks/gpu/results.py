"""The results' file: a stage's result is stored as soon as it is done, and a later run goes on from there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pssdet.files import write_atomically

SCHEMA = 1


@dataclass
class Results:
    """What a run has found so far.

    identity: what must be equal for results of several runs to belong together.
    runs: each run's environment. stages: by name, {"seconds", "finished", "result"}.
    """

    path: Path
    identity: dict[str, Any]
    runs: list[dict[str, str]] = field(default_factory=list)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any]) -> Results:
        """The stored results if they are of the same identity, else none."""
        stored = _read(path)
        if stored.get("schema") != SCHEMA or stored.get("identity") != identity:
            return cls(path, identity)
        return cls(path, identity, stored["runs"], stored["stages"])

    def save(self) -> None:
        """Write the file; it appears whole or not at all."""
        content = {"schema": SCHEMA, "identity": self.identity, "runs": self.runs, "stages": self.stages}
        write_atomically(self.path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def result(self, stage: str) -> dict[str, Any] | None:
        """What a stage found, if it is done."""
        entry = self.stages.get(stage)
        return entry["result"] if entry else None


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def slug(gpu: str) -> str:
    """A GPU's name for a file: 'NVIDIA H200' is h200."""
    return re.sub(r"[^a-z0-9]+", "_", gpu.lower()).strip("_").removeprefix("nvidia_")
