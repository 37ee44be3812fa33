"""A benchmark as steps: what is not stored yet is computed step by step, stored at once, and judged at the end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from time import perf_counter
from typing import Any, Literal

from benchmarks.gpu.environment import driver_figures
from benchmarks.gpu.results import Results
from pssdet.errors import GateFailed
from pssdet.files import write_atomically

Result = dict[str, Any]
Verdict = Literal["met", "missed", "not measured", "not judged"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
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

    @classmethod
    def of(cls, number: int, text: str, measured: str | None, *, judged: bool, is_met: bool) -> Goal:
        """A goal about a figure, which is None if it was not measured, and which may be none to judge."""
        if measured is None:
            return cls(number, text, "-", "not measured")
        if not judged:
            return cls(number, text, measured, "not judged")
        return cls(number, text, measured, "met" if is_met else "missed")


@dataclass(frozen=True)
class Suite:
    """The steps of one benchmark in their order, and how their results are judged and written down.

    check: waits for the device and raises if it no longer answers.
    render: the results as Markdown. failures: every failed check, in words, each beginning with its step's name and
    a comma. checks: how many were made, in words. goals: none for a benchmark that has no goals of its own.
    """

    device: str
    steps: Sequence[Step]
    check: Callable[[], None]
    render: Callable[[Results], str]
    failures: Callable[[Results], list[str]]
    checks: Callable[[Results], str]
    goals: Callable[[Results], list[Goal]] = lambda _: []


def run(suite: Suite, results: Results, say: Say) -> None:
    """Do the missing steps and write the report again after each.

    Raises:
        GateFailed: a step broke off, a check failed or a goal was missed.
    """
    planned = suite.steps
    todo = [step for step in planned if step.name not in results.steps]
    seconds = sum(step.estimate_seconds for step in todo)
    say(f"{suite.device}: {len(todo)} of {len(planned)} steps to do, {seconds:.0f} s by the estimate for an H200")
    _store(suite, results)
    broken = []
    for number, step in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {step.name} ({step.estimate_seconds:.0f} s estimated)")
        failure = _do(suite, step, results)
        if failure:
            broken.append(failure)
            say(f"  BROKEN OFF: {failure}")
            if not _is_usable(suite):
                say("  the device no longer answers; the remaining steps need another run")
                break
        else:
            say(f"  {results.steps[step.name]['seconds']:.1f} s{_failed_checks(suite, results, step.name)}")
    _conclude(suite, results, broken, say)


def _do(suite: Suite, step: Step, results: Results) -> str:
    """Compute and store one step; empty, or why it broke off."""
    started = perf_counter()
    try:
        result = step.work()
        suite.check()
    except Exception as error:  # noqa: BLE001  (whatever it is, the other steps are worth their time)
        traceback.print_exc()
        return f"{step.name}: {' '.join(str(error).split())[:300]}"
    results.steps[step.name] = {
        "seconds": round(perf_counter() - started, 2),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clocks after it": driver_figures(),
        "result": result,
    }
    _store(suite, results)
    return ""


def _store(suite: Suite, results: Results) -> None:
    results.save()
    write_atomically(results.path.with_suffix(".md"), suite.render(results).encode())


def _is_usable(suite: Suite) -> bool:
    try:
        suite.check()
    except Exception:  # noqa: BLE001
        return False
    return True


def _failed_checks(suite: Suite, results: Results, step: str) -> str:
    """The end of a step's line: how many of its checks failed."""
    failed = [failure for failure in suite.failures(results) if failure.startswith(f"{step},")]
    return f", {len(failed)} FAILED, the first: {failed[0]}" if failed else ""


def _conclude(suite: Suite, results: Results, broken: list[str], say: Say) -> None:
    failed = suite.failures(results)
    found = suite.goals(results)
    for goal in found:
        say(f"goal {goal.number}, {goal.verdict}: {goal.text}: {goal.measured}")
    say(f"{suite.checks(results)}, {len(failed)} failures")
    say(f"wrote {results.path} and {results.path.with_suffix('.md').name}")
    missed = [goal.text for goal in found if goal.verdict == "missed"]
    problems = [
        *(f"broke off: {text}" for text in broken),
        *([f"{len(failed)} checks failed, the first: {failed[0]}"] if failed else []),
        *([f"{len(missed)} goals missed, the first: {missed[0]}"] if missed else []),
    ]
    if problems:
        raise GateFailed("; ".join(problems))
