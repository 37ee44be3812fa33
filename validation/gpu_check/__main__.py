"""``pssdet gpu-check`` where cyclopts and msgspec are missing: the same options and exit codes.

    python -m pssdet.validation.gpu_check [--budget SECONDS] [--only STEP ...] [--resume] [--output DIR]
    python -m pssdet.validation.gpu_check --pack [--bundles DIR] [--cases CASE ...]      # at home
    python -m pssdet.validation.gpu_check --record RESULTS [--page docs/gpu-status.md]

Exit code: 0 all passed, 1 a step failed or was left out, 2 usage, 3 no GPU, or something is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from pssdet.validation.gpu_check.command import Options, exit_code, gpu_check, say
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise
    print(f"error: {missing.name} is not installed; pip install numpy onnx cuda-bindings", file=sys.stderr)
    sys.exit(3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    given = vars(_parser().parse_args(arguments))
    options = Options(**{**given, "only": tuple(given["only"]), "cases": tuple(given["cases"])})
    return exit_code(lambda: gpu_check(options, say), "--resume")


def _parser() -> argparse.ArgumentParser:
    defaults = Options()
    parser = argparse.ArgumentParser(
        prog="python -m pssdet.validation.gpu_check", description="Check this machine's GPU, step by step."
    )
    parser.add_argument("--budget", type=float, default=defaults.budget, help="seconds in all (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps and what they need")
    parser.add_argument("--resume", action="store_true", help="keep the results of this machine's last run")
    parser.add_argument(
        "--output", type=Path, default=defaults.output, help="results, logs, plans (%(default)s)"
    )
    parser.add_argument("--bundles", type=Path, default=defaults.bundles, help="the bundles (%(default)s)")
    parser.add_argument("--pack", action="store_true", help="make the bundles, where Paddle is installed")
    parser.add_argument(
        "--cases", nargs="+", default=[], metavar="CASE", help="what to pack (mini scenes row4)"
    )
    parser.add_argument(
        "--record", type=Path, help="add these results (gpu-check.json) to the page, and no more"
    )
    parser.add_argument("--page", type=Path, default=defaults.page, help="that page (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
