"""One run: what is not stored yet is computed, stage by stage, and stored at once."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from time import perf_counter

from benchmarks.gpu.environment import driver_figures
from benchmarks.gpu.results import Results
from benchmarks.gpu.suite import Campaign, Stage
from pssdet.errors import GateFailed
from pssdet.files import write_atomically

Say = Callable[[str], None]


def run(campaign: Campaign, results: Results, say: Say) -> None:
    """Do the stages that are missing, with the report renewed after each.

    Raises:
        GateFailed: a stage broke off, a check failed or a goal was missed.
    """
    planned = campaign.stages
    todo = [stage for stage in planned if stage.name not in results.stages]
    seconds = sum(stage.estimate_seconds for stage in todo)
    say(f"{campaign.device}: {len(todo)} of {len(planned)} stages to do, {seconds:.0f} s by the estimate for an H200")
    _store(campaign, results)
    broken = []
    for number, stage in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {stage.name} ({stage.estimate_seconds:.0f} s estimated)")
        failure = _do(campaign, stage, results)
        if failure:
            broken.append(failure)
            say(f"  BROKEN OFF: {failure}")
            if not _is_usable(campaign):
                say("  the device answers no longer; the stages that are left need another run")
                break
        else:
            say(f"  {results.stages[stage.name]['seconds']:.1f} s{_news(campaign, results, stage.name)}")
    _conclude(campaign, results, broken, say)


def _do(campaign: Campaign, stage: Stage, results: Results) -> str:
    """Compute and store one stage; in words why it could not be."""
    started = perf_counter()
    try:
        result = stage.work()
        campaign.check()
    except Exception as error:  # noqa: BLE001  (whatever it is, the other stages are worth their time)
        traceback.print_exc()
        return f"{stage.name}: {' '.join(str(error).split())[:300]}"
    results.stages[stage.name] = {
        "seconds": round(perf_counter() - started, 2),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clocks after it": driver_figures(),
        "result": result,
    }
    _store(campaign, results)
    return ""


def _store(campaign: Campaign, results: Results) -> None:
    results.save()
    write_atomically(results.path.with_suffix(".md"), campaign.render(results).encode())


def _is_usable(campaign: Campaign) -> bool:
    try:
        campaign.check()
    except Exception:  # noqa: BLE001
        return False
    return True


def _news(campaign: Campaign, results: Results, stage: str) -> str:
    """What a stage's line adds: how many of its checks failed."""
    failed = [failure for failure in campaign.failures(results) if failure.startswith(f"{stage},")]
    return f", {len(failed)} FAILED, the first: {failed[0]}" if failed else ""


def _conclude(campaign: Campaign, results: Results, broken: list[str], say: Say) -> None:
    failed = campaign.failures(results)
    found = campaign.goals(results)
    for goal in found:
        say(f"goal {goal.number}, {goal.verdict}: {goal.text}: {goal.measured}")
    say(f"{campaign.checks(results)}, {len(failed)} failures")
    say(f"wrote {results.path} and {results.path.with_suffix('.md').name}")
    missed = [goal.text for goal in found if goal.verdict == "missed"]
    problems = [
        *(f"broke off: {text}" for text in broken),
        *([f"{len(failed)} checks failed, the first: {failed[0]}"] if failed else []),
        *([f"{len(missed)} goals missed, the first: {missed[0]}"] if missed else []),
    ]
    if problems:
        raise GateFailed("; ".join(problems))
