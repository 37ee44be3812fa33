"""Errors that a user can act on, each with the exit code that the commands return for it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice


class PssDetError(Exception):
    """Base of all errors raised on purpose; the message says what was wrong and what to do."""

    exit_code = 2


class GateFailed(PssDetError):
    """One of the project's own checks failed: verification, precision proof or verdict."""

    exit_code = 1


class BadInput(PssDetError):
    """The user gave something that cannot be used: an argument, a checkpoint, a picture, a folder."""

    exit_code = 2

    def naming(self, name: str) -> BadInput:
        """The same error with ``name`` in front, unless its message has it already."""
        return self if name in str(self) else BadInput(f"{name}: {self}")


class EnvironmentMissing(PssDetError):
    """Something outside the project is missing: a GPU, an optional package, a network."""

    exit_code = 3


def some(names: Collection[str], most: int = 5) -> str:
    """The first few names, and how many more there are, for an error that is to stay in one line."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more
