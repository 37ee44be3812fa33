"""A signal does not reach into Paddle's tracer.

In a process of its own: libraries that other tests have loaded may have left a stack for signals behind.
"""

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from pssdet.export.convert import deferred_signals

class Stopped(Exception):
    pass

def stop(*_):
    raise Stopped

number = signal.Signals[sys.argv[1]]
signal.signal(number, stop)
try:
    with deferred_signals():
        os.kill(os.getpid(), number)
        print("the block ends")
except Stopped:
    print("then the handler runs")
print(signal.getsignal(number) is stop)
"""


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_a_signal_waits_for_the_end_of_the_block(signal):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, signal], check=False, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["the block ends", "then the handler runs", "True"], ran.stderr
