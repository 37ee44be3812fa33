"""Stand-ins for an evaluation, sound and faulty, that tests run in a subprocess; quick to import."""

import os
import time


def return_what_was_given(*given):
    return given[:-1]


def return_none(heartbeat):
    return None


def divide_by_zero(heartbeat):
    return 1 / 0


def crash(engine, pictures, heartbeat):
    """Take the process down."""
    os.abort()


def hang(engine, pictures, heartbeat):
    """Begin and then never come back."""
    heartbeat()
    time.sleep(600)


def crash_if_doomed(engine, pictures, heartbeat):
    """The real evaluation, except for an engine in a folder called "doomed"."""
    from pssdet.validation.evaluate import _run_here

    return (crash if engine.name == "doomed" else _run_here)(engine, pictures, heartbeat)
