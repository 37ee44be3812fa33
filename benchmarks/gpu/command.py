"""What the benchmarks' command lines share: options, one file of results per run, errors as exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu import environment
from benchmarks.gpu.results import Results, slug
from benchmarks.gpu.suite import Suite, run
from pssdet.errors import PssDetError


def add_run_options(parser: argparse.ArgumentParser, quick: str) -> None:
    """The options of a run: where its results go, and whether it is short or starts again.

    quick: what a short run leaves out.
    """
    folder = environment.ROOT / "benchmarks" / "results"
    parser.add_argument("--output", type=Path, default=folder, help="folder of the results (%(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{quick}, a file of its own")
    parser.add_argument("--fresh", action="store_true", help="forget the stored results")


def add_bundles_option(parser: argparse.ArgumentParser) -> None:
    """Where the bundles are; ``--parcels`` is the option's earlier name."""
    folder = environment.ROOT / "artifacts" / "gpu"
    parser.add_argument("--bundles", "--parcels", type=Path, default=folder, help="what pack.py made (%(default)s)")


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
    """Run a suite, resuming stored results of the same identity.

    described: what the results say of this run, besides its environment.

    Raises:
        GateFailed: a step broke off, a check failed or a goal was missed.
    """
    whole = {**identity, "gpu": suite.device, "quick": options.quick}
    results = Results.open(options.output / f"{stem_of(what, suite.device, options)}.json", whole)
    if options.fresh:
        results.steps.clear()
        results.runs.clear()
    results.runs.append(environment.describe() | dict(described))
    run(suite, results, say)


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
