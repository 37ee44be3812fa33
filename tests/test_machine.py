"""The machine's name in reports and benchmarks."""

import platform
from pathlib import Path

from pssdet.machine import processor, usable_cores, vector_instructions


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


def test_only_instructions_that_choose_kernels(monkeypatch):
    text = "flags : fpu sse4_2 avx512_vnni ibrs amx_int8 md_clear\n"
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_options: text)
    assert vector_instructions() == ["amx_int8", "avx512_vnni", "sse4_2"]
