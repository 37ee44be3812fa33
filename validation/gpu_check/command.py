"""The check as a command: what is run, written, packed and recorded; its options are those of ``Options``."""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pssdet.errors import BadInput, EnvironmentMissing, GateFailed, PssDetError
from pssdet.files import write_atomically
from pssdet.validation.gpu_check.machine import version_of
from pssdet.validation.gpu_check.plan import STEPS, Step, chosen
from pssdet.validation.gpu_check.report import counts, markdown, recorded, row
from pssdet.validation.gpu_check.runner import Results, Run

RESULTS, REPORT = "gpu-check.json", "gpu-check.md"
#: The folders of this package whose sources decide results.
_DECIDING = ("engines", "models", "plugins/bindings", "validation/gpu_check")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a run of the check is asked for.

    Attributes:
        output: folder of results, logs, plans; ``bundles`` that of the bundles, read or made by ``pack``.
        record: results to add to ``page``; nothing is checked then.
    """

    budget: float = 480.0
    only: tuple[str, ...] = ()
    resume: bool = False
    output: Path = Path("artifacts/gpu-check")
    bundles: Path = Path("artifacts/gpu")
    pack: bool = False
    cases: tuple[str, ...] = ()
    record: Path | None = None
    page: Path = Path("docs/gpu-status.md")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def exit_code(work: Callable[[], None], goes_on: str) -> int:
    """Do the work; the exit code, with an error as one line on stderr, where no command line library is.

    Args:
        goes_on: what does, told after Ctrl-C. On SIGTERM the process of the step is ended, too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        work()
    except PssDetError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted; {goes_on} goes on", file=sys.stderr)
        return 130
    return 0


def gpu_check(options: Options, say: Say, steps: Sequence[Step] = STEPS) -> None:
    """Check this machine's GPU, or pack what the check needs, or record its results.

    Raises:
        BadInput: options contradict each other, or a file cannot be read or written.
        EnvironmentMissing: there is no GPU, or something that a step needs is missing.
        GateFailed: a step failed, or the budget left steps out.
    """
    if options.pack and options.record:
        raise BadInput("--pack and --record exclude each other; give one")
    if options.cases and not options.pack:
        raise BadInput("--cases says what --pack packs; give both")
    if options.pack:
        from pssdet.validation.gpu_check.pack import pack

        pack(options.bundles, options.cases, say)
    elif options.record:
        _record(options.record, options.page, say)
    else:
        file = options.output / RESULTS
        results = run(steps, options.only, options, file, say, again=options.only, resume=options.resume)
        write_atomically(options.output / REPORT, markdown(results, steps).encode())
        say(f"{counts(results)}; wrote {options.output / REPORT} and {RESULTS}")
        judge(results)


def run(
    steps: Sequence[Step],
    names: Sequence[str],
    options: Options,
    file: Path,
    say: Say,
    *,
    again: Sequence[str] = (),
    resume: bool,
    sources: Sequence[Path] = (),
) -> Results:
    """Run the steps of these names, all without names, into a file that can be shown to anybody.

    Args:
        again: names of steps to run even if the file has their results.
        resume: Results that the file has from this machine are kept.
        sources: folders of the steps' own sources, if they are not of this package.

    Raises:
        BadInput: there is no step of a name.
        EnvironmentMissing: there is no GPU; nothing was written.
    """
    wanted = chosen(steps, names)
    before = Results.read(file) if resume else None
    if before:
        known = {name for name in before.outcomes if name not in again}
        before.outcomes = {name: before.outcomes[name] for name in known}
        wanted = chosen(steps, [*(step.name for step in wanted), *known & {step.name for step in steps}])
    this = Run(file, options.bundles.absolute(), options.budget, _identity(sources), version_of("pss-det"), say)
    results = this.steps(wanted, before)
    first = results.outcomes[wanted[0].name]
    if first.status == "MISSING":
        say("what would have run:")
        for step in wanted:
            say(f"  {step.name}: {step.about}, {step.limit:.0f} s at most")
        raise EnvironmentMissing(f"nothing was checked: {first.reason}")
    return results


def judge(results: Results) -> None:
    """Raise ``GateFailed`` for failed steps and those left out, ``EnvironmentMissing`` for what is missing."""
    of = {
        status: [name for name, outcome in results.outcomes.items() if outcome.status == status]
        for status in ("FAIL", "MISSING", "NOT RUN")
    }
    if of["FAIL"]:
        first = of["FAIL"][0]
        raise GateFailed(
            f"{len(of['FAIL'])} steps failed, the first: {first}: {results.outcomes[first].reason}"
        )
    if of["MISSING"]:
        first = of["MISSING"][0]
        raise EnvironmentMissing(f"nothing failed, but {first} could not run: {results.outcomes[first].reason}")
    if of["NOT RUN"]:
        raise GateFailed(f"nothing failed, but {len(of['NOT RUN'])} steps were not run: --resume goes on")


def _record(source: Path, page: Path, say: Say) -> None:
    results = Results.read(source)
    if results is None:
        raise BadInput(f"{source} holds no results of this version; gpu-check writes {RESULTS}")
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{page} cannot be read ({error.strerror}); name the page with --page") from error
    try:
        changed = recorded(text, row(results))
    except BadInput as error:
        raise error.naming(str(page)) from error
    if changed == text:
        say(f"{page} has this run already")
        return
    write_atomically(page, changed.encode())
    say(f"added a row to {page}")


def _identity(folders: Sequence[Path]) -> str:
    """Changes with the sources that decide results, and with those in these folders."""
    package = Path(__file__).parents[2]
    files = [
        path
        for folder in (*(package / name for name in _DECIDING), *folders)
        for path in sorted(folder.rglob("*.py"))
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
