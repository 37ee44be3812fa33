"""The benchmark of the CPU starts processes: one for each candidate, and fresh ones for the memory."""

import subprocess
import sys

import pytest

from benchmarks import shared
from benchmarks.cpu_speed.candidates import CANDIDATES, Prepared
from benchmarks.cpu_speed.peak_memory import peaks
from benchmarks.cpu_speed.workers import measure
from pssdet.errors import GateFailed
from pssdet.models.card import read_model_card


def silent(_):
    pass


@pytest.fixture
def prepared(mini_folder):
    """Two candidates of the bundled detector, one of which has an engine."""
    present = ("onnxruntime_plain", "floor")
    missing = {name: "not here" for name in CANDIDATES if name not in present}
    engines = {"onnxruntime_plain": mini_folder / "onnxruntime-fp32"}
    return Prepared(read_model_card(mini_folder), mini_folder, engines, missing, seeded=False)


def test_candidates_take_turns(prepared):
    pytest.importorskip("openvino")
    times = measure(prepared, 2, 3, silent)
    assert {name: list(seconds) for name, seconds in times.items()} == {
        "onnxruntime_plain": [0, 1, 2],
        "floor": [0, 1, 2],
    }
    assert all(0 < each < 60 for seconds in times.values() for each in seconds.values())


def test_a_candidate_that_cannot_be_opened_is_named(prepared, tmp_path):
    absent = prepared._replace(engines={"onnxruntime_plain": tmp_path})
    with pytest.raises(GateFailed, match=f"onnxruntime_plain failed: .*{tmp_path.name}"):
        measure(absent, 1, 1, silent)


def test_peak_memory_is_that_of_a_process_with_the_engine(prepared):
    (peak,) = peaks(prepared, silent).values()
    for each in (peak.first, peak.later):
        assert 5e7 < each < 1e9


def test_others_are_not_our_children():
    """Neither while a child runs nor once it has ended is its time that of others."""
    program = "import sys, time\nwhile time.process_time() < 1: pass\nprint(flush=True)\nsys.stdin.read()"
    with shared.others() as while_it_runs:
        child = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        before = shared._seconds_of_others()
        assert child.stdout.readline() == "\n"
    assert shared._ticks(child.pid) >= 90
    child.communicate()
    assert shared._ticks(child.pid) == 0
    assert while_it_runs[0] >= 0
    assert shared._seconds_of_others() >= before - 0.1
