"""A plan opened right after its build, and described by TensorRT's inspector: here, or in a fresh process.

A plan that carries the plugin library must open where nothing else brings the plugins. The process that built
it has them registered, so such a plan is opened in another one, which never loads the library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pssdet.engines.trt.callbacks import error_log
from pssdet.engines.trt.plan.inspector import engine_information
from pssdet.engines.trt.profiles import Profile, as_text, read_profiles
from pssdet.errors import EnvironmentMissing, GateFailed

#: Seconds: TensorRT starts, reads the plan and makes one context.
_MOST_SECONDS = 600
_LAST_LINES = 5


def described(trt: Any, plan: bytes, profile: Profile, *, host_code: bool) -> str:
    """The inspector's JSON of a plan; see ``engine_information``.

    Args:
        host_code: the plan may hold code for the CPU, as version-compatible plans do.

    Raises:
        EnvironmentMissing: there is no memory for a context.
        GateFailed: TensorRT cannot read the plan.
    """
    logger = error_log(trt)
    runtime = trt.Runtime(logger)
    if host_code:
        runtime.engine_host_code_allowed = True  # the plan was built a moment ago, here
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise GateFailed(f"TensorRT cannot read the engine that it built: {logger.last_errors()}")
    return engine_information(trt, engine, profile)


def described_apart(plan: Path, profile: Profile) -> str:
    """The same of a plan that carries its plugins, by a process that has no other ones.

    Raises:
        GateFailed: it cannot be opened there.
    """
    answer = plan.with_name(f"{plan.name}.opened")
    command = [sys.executable, "-m", __name__, str(plan), str(answer), as_text(profile.opt)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, check=False, timeout=_MOST_SECONDS
        )
        if done.returncode != 0 or not answer.is_file():
            said = " / ".join(done.stderr.strip().splitlines()[-_LAST_LINES:]) or "it said nothing"
            raise GateFailed(
                "the engine with its plugins does not open in a process without the plugin library"
                f" (exit code {done.returncode}): {said}"
            )
        return answer.read_text(encoding="utf-8")
    except subprocess.TimeoutExpired as error:
        raise GateFailed(
            f"the engine with its plugins did not open within {_MOST_SECONDS} s in a process of its own"
        ) from error
    finally:
        answer.unlink(missing_ok=True)


def _main(plan: str, answer: str, typical: str) -> int:
    """Open a plan and write what the inspector says into the file ``answer``; returns the exit code."""
    import tensorrt

    (profile,) = read_profiles([], [typical], [])
    try:
        text = described(tensorrt, Path(plan).read_bytes(), profile, host_code=True)
    except (EnvironmentMissing, GateFailed) as error:
        print(error, file=sys.stderr)
        return 1
    Path(answer).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
