"""Sections that every report has."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.documents import table
from benchmarks.gpu.results import Results
from benchmarks.gpu.suite import Goal


def goal_table(goals: Iterable[Goal]) -> list[str]:
    """Goals as a table."""
    rows = [(str(goal.number), goal.text, goal.measured, goal.verdict) for goal in goals]
    return table(("goal", "what", "measured", "verdict"), rows)


def environment_section(results: Results) -> list[str]:
    """The environment of the last run, and how long the steps of all runs took."""
    last = results.runs[-1] if results.runs else {}
    seconds = sum(entry["seconds"] for entry in results.steps.values())
    made = f"{len(results.steps)} steps took {seconds:.0f} s in {len(results.runs)} runs; above is the last."
    return ["## Environment", "", *table(("what", "value"), last.items()), "", made]
