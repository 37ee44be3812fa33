"""A benchmark as steps: each result is stored at once, a later run goes on from there, and all are judged."""

from __future__ import annotations

import argparse
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from benchmarks.documents import table
from benchmarks.gpu import environment
from pssdet.errors import GateFailed, PssDetError
from pssdet.files import write_atomically

SCHEMA = 2  # of the files of results

Result = dict[str, Any]
Verdict = Literal["met", "missed", "not measured", "not judged"]


@dataclass
class Results:
    """The runs of one ``identity``: steps by name, {"seconds", "finished", "clocks after it", "result"}."""

    path: Path
    identity: dict[str, Any]
    runs: list[dict[str, str]] = field(default_factory=list)  # each run's environment
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
        """The steps whose names begin so: the rest of the name, and what the step found."""
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
        """A goal about a figure; ``measured`` is None if there is none."""
        if measured is None:
            return cls(number, text, "-", "not measured")
        if not judged:
            return cls(number, text, measured, "not judged")
        return cls(number, text, measured, "met" if is_met else "missed")


@dataclass(frozen=True)
class Suite:
    """The steps of one benchmark in their order, and how their results are judged and written down."""

    device: str  # its name
    steps: Sequence[Step]
    check: Callable[[], None]  # waits for the device, and raises if it no longer answers
    render: Callable[[Results], str]  # as Markdown
    # Of checks, in words; each begins with its step's name and a comma.
    failures: Callable[[Results], list[str]]
    checks: Callable[[Results], str]  # how many were made, in words
    goals: Callable[[Results], list[Goal]] = lambda _: []


def add_run_options(parser: argparse.ArgumentParser, quick: str) -> None:
    """The options of a run; ``quick`` says what a short one leaves out."""
    folder = environment.ROOT / "benchmarks" / "results"
    parser.add_argument("--output", type=Path, default=folder, help="folder of the results (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{quick}, a file of its own")
    parser.add_argument("--fresh", action="store_true", help="forget the stored results")


def add_bundles_option(parser: argparse.ArgumentParser) -> None:
    """Where the bundles are; ``--parcels`` is the option's earlier name."""
    folder = environment.ROOT / "artifacts" / "gpu"
    parser.add_argument(
        "--bundles", "--parcels", type=Path, default=folder, help="what pack.py made (%(default)s)"
    )


def exit_code(work: Callable[[], None]) -> int:
    """Do the work; 0, or the exit code of its error, which is printed in one line."""
    try:
        work()
    except PssDetError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def stem_of(what: str, gpu: str, options: argparse.Namespace) -> str:
    """The results' name without its ending."""
    return f"{what}_{slug(gpu)}{'_quick' if options.quick else ''}"


def measure(
    suite: Suite,
    what: str,
    identity: Mapping[str, Any],
    described: Mapping[str, str],
    options: argparse.Namespace,
) -> None:
    """Do the steps that stored results of this identity lack; the report is written after each.

    ``described`` joins the environment. ``GateFailed``: a step broke off, a check failed or a goal was missed.
    """
    whole = {**identity, "gpu": suite.device, "quick": options.quick}
    results = Results.open(options.output / f"{stem_of(what, suite.device, options)}.json", whole)
    if options.fresh:
        results.steps.clear()
        results.runs.clear()
    results.runs.append(environment.describe() | dict(described))
    todo = [step for step in suite.steps if step.name not in results.steps]
    seconds = sum(step.estimate_seconds for step in todo)
    say(
        f"{suite.device}: {len(todo)} of {len(suite.steps)} steps to do,"
        f" {seconds:.0f} s by the estimate for an H200"
    )
    _store(suite, results)
    _conclude(suite, results, _do_all(suite, todo, results))


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


def _do_all(suite: Suite, todo: Sequence[Step], results: Results) -> list[str]:
    """Why steps broke off; a device that is gone ends the run."""
    broken = []
    for number, step in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {step.name} ({step.estimate_seconds:.0f} s estimated)")
        failure = _do(suite, step, results)
        if not failure:
            say(f"  {results.steps[step.name]['seconds']:.1f} s{_failed_checks(suite, results, step.name)}")
            continue
        broken.append(failure)
        say(f"  BROKEN OFF: {failure}")
        if not _is_usable(suite):
            say("  the device no longer answers; the remaining steps need another run")
            break
    return broken


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
        "clocks after it": environment.driver_figures(),
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
    failed = [failure for failure in suite.failures(results) if failure.startswith(f"{step},")]
    return f", {len(failed)} FAILED, the first: {failed[0]}" if failed else ""


def _conclude(suite: Suite, results: Results, broken: list[str]) -> None:
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
