"""The process of one step: does its work and writes what it found as JSON.

    python -m pssdet.validation.gpu_check.child MODULE:FUNCTION ARGUMENT BUNDLES WORK RESULT

Messages of TensorRT are printed as they come, so that those before a crash are known.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import math
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pssdet.engines.trt import callbacks
from pssdet.engines.trt.runtime.cuda import CudaFailure
from pssdet.engines.trt.runtime.engine import EngineFailure
from pssdet.errors import EnvironmentMissing, PssDetError
from pssdet.files import write_atomically
from pssdet.validation.gpu_check.plan import Findings, Given

#: How the lines begin that TensorRT's warnings and errors are printed in.
MARK = "TensorRT: "


def main(arguments: Sequence[str]) -> None:
    """Do the work of a step and write its result."""
    work, argument, bundles, folder, result = arguments
    faulthandler.enable()
    callbacks.listen(_print_message)
    outcome = do(work, Given(Path(bundles), Path(folder), argument))
    finite = _finite(outcome)
    if finite != outcome and finite["status"] == "PASS":
        finite = {**finite, "status": "FAIL", "reason": "a figure is no finite number"}
    write_atomically(Path(result), json.dumps(finite, allow_nan=False).encode())


def do(work: str, given: Given) -> dict[str, Any]:
    """The outcome of a step: ``status``, ``reason`` and ``figures``."""
    module, _, name = work.partition(":")
    try:
        findings: Findings = getattr(importlib.import_module(module), name)(given)
    except (CudaFailure, EngineFailure) as error:  # what they call missing, a user can do something about
        return {"status": "FAIL", "reason": _one_line(error), "figures": {}}
    except EnvironmentMissing as error:
        return {"status": "MISSING", "reason": _one_line(error), "figures": {}}
    except PssDetError as error:
        return {"status": "FAIL", "reason": _one_line(error), "figures": {}}
    except Exception as error:  # noqa: BLE001  (whatever it is, it is the result of this step)
        traceback.print_exc()
        return {"status": "FAIL", "reason": f"{type(error).__name__}: {_one_line(error)}", "figures": {}}
    for failure in findings.failures:
        print(failure, flush=True)
    more = len(findings.failures) - 1
    reason = f"{findings.failures[0]}{f'; and {more} more' if more > 0 else ''}" if findings.failures else ""
    return {"status": "FAIL" if reason else "PASS", "reason": reason, "figures": findings.figures}


def _finite(value: Any) -> Any:
    """The value with words for numbers that JSON does not have: a reason must not be lost for one."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _print_message(text: str) -> None:
    print(f"{MARK}{_one_line(text)}", flush=True)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


if __name__ == "__main__":
    main(sys.argv[1:])
