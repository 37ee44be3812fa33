"""What a run is made of: stages that each store a result, and how the results are judged and written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.gpu.results import Results

Result = dict[str, Any]
Verdict = Literal["met", "missed", "not measured", "not judged"]


@dataclass(frozen=True)
class Stage:
    """A part of the run whose result is stored as soon as it is done."""

    name: str
    estimate_seconds: float
    work: Callable[[], Result]


@dataclass(frozen=True)
class Goal:
    """A goal, what was measured in words, and the verdict; speed is not judged on another GPU."""

    number: int
    text: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Campaign:
    """The stages of one benchmark in their order, and what is said of their results.

    check: waits for the device and raises if it answers no longer.
    render: the results as Markdown. failures: every check that did not hold, in words, each beginning with its
    stage's name and a comma. checks: how many were made, in words.
    """

    device: str
    stages: Sequence[Stage]
    check: Callable[[], None]
    render: Callable[[Results], str]
    failures: Callable[[Results], list[str]]
    goals: Callable[[Results], list[Goal]]
    checks: Callable[[Results], str]
