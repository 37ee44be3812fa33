"""A signal does not reach into Paddle's tracer."""

import os
import signal

import pytest

from pssdet.export.convert import deferred_signals


def block(number, done):
    with deferred_signals():
        os.kill(os.getpid(), number)
        done.append("the block")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_end_of_the_block(number):
    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    before = signal.signal(number, stop)
    done = []
    try:
        with pytest.raises(Stopped):
            block(number, done)
        assert done == ["the block"]
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
