"""The file of results: a step's result is stored as soon as it is done, and a later run goes on from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pssdet.files import write_atomically

SCHEMA = 2


@dataclass
class Results:
    """What a run has found so far.

    identity: what must be equal for results of several runs to belong together.
    runs: each run's environment. steps: by name, {"seconds", "finished", "result"}.
    """

    path: Path
    identity: dict[str, Any]
    runs: list[dict[str, str]] = field(default_factory=list)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any]) -> Results:
        """The stored results if they have the same identity, else none."""
        stored = cls.read(path)
        return stored if stored and stored.identity == identity else cls(path, identity)

    @classmethod
    def read(cls, path: Path) -> Results | None:
        """The stored results; None if the file is missing or holds something else."""
        try:
            stored = _upgraded(json.loads(path.read_bytes()))
            return cls(path, stored["identity"], stored["runs"], stored["steps"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def save(self) -> None:
        """Write the file; it appears whole or not at all."""
        content = {"schema": SCHEMA, "identity": self.identity, "runs": self.runs, "steps": self.steps}
        write_atomically(self.path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def result(self, step: str) -> dict[str, Any] | None:
        """What a step found, if it is done."""
        entry = self.steps.get(step)
        return entry["result"] if entry else None

    def rows(self, step: str) -> list[dict[str, Any]]:
        """The rows that a step found; none if it is not done."""
        found = self.result(step)
        return found["rows"] if found else []

    def with_prefix(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The steps whose names begin with ``prefix``: the rest of the name, and what the step found."""
        for name, entry in self.steps.items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), entry["result"]


def _upgraded(stored: dict[str, Any]) -> dict[str, Any]:
    """A file's content; schema 1 called steps stages, the bundle a parcel and the engine without DCN a twin."""
    if stored["schema"] == 1:
        identity = {"bundle" if name == "parcel" else name: value for name, value in stored["identity"].items()}
        steps = {re.sub(r"\btwin\b", "no_dcn", name): entry for name, entry in stored["stages"].items()}
        return {**stored, "schema": SCHEMA, "identity": identity, "steps": steps}
    if stored["schema"] != SCHEMA:
        raise ValueError(stored["schema"])
    return stored


def slug(gpu: str) -> str:
    """A GPU's name for a file: 'NVIDIA H200' is h200."""
    return re.sub(r"[^a-z0-9]+", "_", gpu.lower()).strip("_").removeprefix("nvidia_")
