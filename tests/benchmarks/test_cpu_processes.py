"""The benchmark of the CPU starts processes: one for each candidate, and fresh ones for the memory."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import pytest

from benchmarks import shared
from benchmarks.cpu_speed.candidates import CANDIDATES, Prepared, inputs_of, open_candidate
from benchmarks.cpu_speed.openvino_models import plain_model
from benchmarks.cpu_speed.peak_memory import peaks
from benchmarks.cpu_speed.workers import measure
from pssdet.engines.ov.conversion import to_openvino
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


class TestOthers:
    """Neither while a child runs nor once it has ended is its second of work that of others."""

    PROGRAM = "import sys, time\nwhile time.process_time() < 1: pass\nprint(flush=True)\nsys.stdin.read()"

    @pytest.fixture
    def child(self):
        """A process that has worked for a second and now waits for the end of its input."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", self.PROGRAM], text=True, **pipes) as process:
            assert process.stdout.readline() == "\n"
            yield process
            process.communicate()

    @staticmethod
    def subtracted(monkeypatch, module, name, without):
        """Seconds that are not counted as those of others because of what ``module.name`` gives."""
        with monkeypatch.context() as patched:
            patched.setattr(module, name, without)
            counted = shared._seconds_of_others()
        return counted - shared._seconds_of_others()

    def of_running(self, monkeypatch):
        return self.subtracted(monkeypatch, shared, "_descendants", lambda _: [])

    def of_ended(self, monkeypatch):
        alone = os.times()[:2]
        return self.subtracted(monkeypatch, os, "times", lambda: (*alone, 0.0, 0.0, 0.0))

    def test_while_it_runs(self, child, monkeypatch):
        assert self.of_running(monkeypatch) >= 0.9

    def test_once_it_has_ended(self, child, monkeypatch):
        running, ended = self.of_running(monkeypatch), self.of_ended(monkeypatch)
        child.communicate()
        assert shared._ticks(child.pid) == 0
        assert running - self.of_running(monkeypatch) >= 0.9
        assert self.of_ended(monkeypatch) - ended >= 0.9


class TestPlainOpenVino:
    """What somebody would get without this project."""

    @pytest.fixture(autouse=True)
    def _openvino(self):
        pytest.importorskip("openvino")

    def test_it_has_no_rule_but_that_of_deform_conv(self, mini_folder):
        export = onnx.load(mini_folder / "model.onnx")
        plain, ours = (
            Counter((node.get_type_name(), node.get_type_info().version_id) for node in model.get_ops())
            for model in (plain_model(export), to_openvino(export))
        )
        assert plain["DeformableConvolution", "opset8"] == ours["DeformableConvolution", "opset8"] > 0
        for of_a_rule in [("MaxPool", "opset1"), ("GatherND", "opset8")]:
            assert ours[of_a_rule] > plain[of_a_rule]

    def test_it_finds_what_onnx_runtime_finds(self, prepared, monkeypatch):
        monkeypatch.delattr("benchmarks.cpu_speed.openvino_models.to_openvino")
        inputs = inputs_of(prepared.card.preprocessing, 2)
        names = ("openvino_plain", "onnxruntime_plain")
        found, expected = (open_candidate(name, prepared, inputs).run(inputs) for name in names)
        np.testing.assert_array_equal(found["count"], expected["count"])
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
        np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)
