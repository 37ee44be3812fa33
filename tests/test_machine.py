"""The machine's name in reports and benchmarks."""

import platform
from pathlib import Path

from pssdet.machine import processor, usable_cores


def test_the_processors_name_is_one_line():
    assert processor().strip()
    assert "\n" not in processor()


def test_without_cpuinfo_python_names_the_processor(monkeypatch):
    def unreadable(*_args, **_options):
        raise OSError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert processor() == platform.processor()


def test_a_processor_that_cpuinfo_does_not_name_is_unknown(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: "processor : 0\n")
    assert processor() == "unknown processor"


def test_cores():
    assert usable_cores() >= 1
