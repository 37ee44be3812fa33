"""Runs steps one after the other, each in a process of its own, within a budget; results are stored at once.

A process that dies, hangs or leaves nonsense is a result like any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeVar

from pssdet.files import write_atomically
from pssdet.validation.gpu_check.child import MARK
from pssdet.validation.gpu_check.plan import Step

SCHEMA = 1
#: With less time left, no further step is begun.
LEAST_SECONDS = 5.0
WARNINGS, LINES = 20, 20  # the last that are kept of TensorRT's messages, and of all that a step printed
_CHILD = "pssdet.validation.gpu_check.child"

#: The last part of an absolute path stays; names of ONNX nodes such as ``trunk/Conv_1`` are none.
_PATH = re.compile(r"(?<![\w./<>-])~?/(?:[\w.+@~,=-]+/)+([\w.+@~,=-]*)")

Status = Literal["PASS", "FAIL", "MISSING", "NOT RUN"]
_Value = TypeVar("_Value")


@dataclass
class Outcome:
    """What became of a step.

    Attributes:
        reason: why it did not pass.
        warnings: TensorRT's last messages; ``output`` likewise, all that it printed; both unless it passed.
        machine: hash of the machine's figures and of the sources it ran with.
    """

    status: Status
    reason: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    machine: str = ""


@dataclass
class Results:
    """Outcomes by the names of steps, as one JSON file keeps them."""

    version: str
    date: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The file."""
        return (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> Results | None:
        """What a file holds; None if there is none of this version's form."""
        try:
            stored = json.loads(path.read_bytes())
            if stored.pop("schema") != SCHEMA:
                return None
            outcomes = {name: Outcome(**entry) for name, entry in stored.pop("outcomes").items()}
            return cls(**stored, outcomes=outcomes)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


@dataclass
class Run:
    """One run of the check.

    Attributes:
        file: gets the results; logs, and plans in ``work``, lie beside it.
        identity: of the sources, which decide results beside the machine.
        say: told a line when a step begins and ends.
    """

    file: Path
    bundles: Path
    budget: float
    identity: str
    version: str
    say: Callable[[str], None]

    def steps(self, steps: Sequence[Step], stored: Results | None) -> Results:
        """Run the steps, but for those that passed or failed in ``stored`` on the same machine.

        The run ends with the first step if that finds nothing to check.
        """
        started = perf_counter()
        results = Results(self.version, datetime.now(timezone.utc).isoformat(timespec="seconds"))
        before = stored.outcomes if stored else {}
        for number, step in enumerate(steps, start=1):
            known, machine = before.get(step.name), self._machine(steps, results)
            if known and not step.machine and known.status in ("PASS", "FAIL") and known.machine == machine:
                results.outcomes[step.name] = known
                continue
            left = self.budget - (perf_counter() - started)
            self.say(f"[{number}/{len(steps)}] {step.name}: {step.about}")
            outcome = self._outcome(step, results, left)
            outcome.machine = machine
            results.outcomes[step.name] = outcome
            self.say(f"  {outcome.status} {outcome.seconds:.1f} s {outcome.reason}".rstrip())
            if number == 1 and outcome.status == "MISSING":
                return results
            # Until their turn comes, earlier results stay in the file: this run may be stopped, too.
            kept = replace(results, outcomes={**before, **results.outcomes})
            write_atomically(self.file, kept.encode())
        write_atomically(self.file, results.encode())
        return results

    def _outcome(self, step: Step, results: Results, left: float) -> Outcome:
        lacking = [need for need in step.needs if results.outcomes[need].status != "PASS"]
        if lacking:
            return Outcome("NOT RUN", f"it needs {lacking[0]}, which did not pass")
        if left < LEAST_SECONDS:
            return Outcome("NOT RUN", f"the budget of {self.budget:.0f} s is used up; --resume goes on")
        outcome = run_step(step, self.file.parent, self.bundles, min(step.limit, left))
        if outcome.status == "FAIL" and left < step.limit and outcome.seconds >= left - 0.1:
            return Outcome("NOT RUN", f"the budget ended after {left:.0f} s of it; --resume runs it again")
        return outcome

    def _machine(self, steps: Sequence[Step], results: Results) -> str:
        """Hash of what the steps about the machine have found so far, without what changes by itself."""
        found = {
            step.name: results.outcomes[step.name].figures.get("identity")
            for step in steps
            if step.machine and step.name in results.outcomes
        }
        return hashlib.sha256(json.dumps([self.identity, found], sort_keys=True).encode()).hexdigest()[:16]


def run_step(step: Step, folder: Path, bundles: Path, limit: float) -> Outcome:
    """Do a step in a process of its own, which is ended after ``limit`` seconds with all that it started."""
    logs, work = folder / "logs", folder / "work"
    for each in (logs, work):
        each.mkdir(parents=True, exist_ok=True)
    result, log = logs / f"{step.name}.json", logs / f"{step.name}.log"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", _CHILD, step.work, step.argument, str(bundles), str(work), str(result)]
    started = perf_counter()
    with log.open("wb") as output, _process(command, output) as process:
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
    seconds = perf_counter() - started
    printed = log.read_text(errors="replace").splitlines()
    outcome = judged(code, _read(result), limit)
    outcome.seconds = round(seconds, 2)
    if outcome.status != "PASS":
        outcome.warnings = [line.removeprefix(MARK)[:300] for line in printed if line.startswith(MARK)][
            -WARNINGS:
        ]
        outcome.output = [line[:300] for line in printed if not line.startswith(MARK)][-LINES:]
    return Outcome(**shareable(asdict(outcome)))


def shareable(value: _Value, host: str = "") -> _Value:
    """A value of JSON whose texts have no absolute paths and not this machine's name."""
    if isinstance(value, str):
        text = _PATH.sub(r".../\1", value)
        name = host or platform.node()
        # A shorter name would be a word, or a part of a version.
        return re.sub(rf"\b{re.escape(name)}\b", "HOST", text) if len(name) > 3 else text  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {key: shareable(each, host) for key, each in value.items()}  # type: ignore[return-value]
    if isinstance(value, Sequence):
        return [shareable(each, host) for each in value]  # type: ignore[return-value]
    return value


def judged(code: int | None, result: Any, limit: float) -> Outcome:
    """The outcome of a process that ended with ``code``, None if it had to be ended, and left ``result``."""
    if code is None:
        return Outcome("FAIL", f"no answer within {limit:.0f} s: it hangs, or this machine is too slow for it")
    if code < 0:
        with suppress(ValueError):
            return Outcome("FAIL", f"its process died by {signal.Signals(-code).name}")
    if code != 0:
        return Outcome("FAIL", f"its process ended with exit code {code}")
    if not _is_result(result):
        return Outcome("FAIL", "it left no result that can be read")
    return Outcome(result["status"], result["reason"], figures=result["figures"])


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and set(result) == {"status", "reason", "figures"}
        and result["status"] in ("PASS", "FAIL", "MISSING")
        and isinstance(result["reason"], str)
        and isinstance(result["figures"], dict)
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


@contextmanager
def _process(command: Sequence[str], output: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose whole group is killed at the end of the block, however the block ends."""
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # One that waits for a broken GPU cannot be killed; the check goes on without it.
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
