"""Works of steps for the tests of the runner; each goes wrong in its own way."""

import os
import signal
import sys
import time

from pssdet.engines.trt.runtime.cuda import CudaFailure
from pssdet.engines.trt.runtime.engine import EngineFailure
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.validation.gpu_check.plan import Findings


def good(given):
    given.work.joinpath("ran").open("a").write(f"{given.argument}\n")
    return Findings({"identity": {"GPU": "Stub"}, "argument": given.argument})


def wrong(given):
    return Findings({"error": 0.5}, ["the result is off", "and late", "and lost"])


def raises(given):
    raise ZeroDivisionError("by nothing\nat all")


def gate(given):
    raise GateFailed("TensorRT could not build it")


def missing(given):
    raise EnvironmentMissing("there is no GPU")


def fails_in_cuda(given):
    raise CudaFailure("cudaErrorIllegalAddress", "a kernel read foreign memory")


def fails_in_tensorrt(given):
    raise EngineFailure("it could not run the engine")


def dies(given):
    print("TensorRT: a warning before it", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(given):
    print("about to wait", flush=True)
    time.sleep(600)


def hangs_with_a_child(given):
    if os.fork() == 0:
        time.sleep(600)
    given.work.joinpath("child").write_text("here")
    time.sleep(600)


def garbage(given):
    print("\x00\xff" * 50)
    sys.stdout.flush()
    os._exit(0)


def nonsense(given):
    return Findings({"identity": object()})


def exits(given):
    sys.exit(7)


def not_a_number(given):
    return Findings({"error": float("nan")})


def wrong_and_not_a_number(given):
    return Findings({"errors": [float("inf")]}, ["a score is not finite"])


def warns(given):
    from pssdet.validation.gpu_check.child import _print_message

    for number in range(30):
        _print_message(f"warning {number}\nof many")
    return Findings({}, ["it warned"])
