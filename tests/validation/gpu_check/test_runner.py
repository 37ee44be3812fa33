"""Steps in processes of their own: whatever becomes of them is a result."""

import json
import os
import time
from pathlib import Path

import pytest

from pssdet.errors import BadInput
from pssdet.validation.gpu_check import plan
from pssdet.validation.gpu_check.plan import STEPS, Step, chosen
from pssdet.validation.gpu_check.runner import Outcome, Results, Run, judged, run_step

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    source = HERE.parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(source)]))


def step(work, name="", **more):
    return Step(name or work, "for a test", f"gpu_check_steps:{work}", 60, **more)


def outcome(tmp_path, work, limit=60.0):
    return run_step(step(work), tmp_path, tmp_path / "packed", limit)


def run(tmp_path, steps, stored=None, budget=600.0, identity="same"):
    said = []
    this = Run(tmp_path / "gpu-check.json", tmp_path / "packed", budget, identity, "1.0", said.append)
    return this.steps(steps, stored), said


class TestOneStep:
    def test_that_passes(self, tmp_path):
        found = outcome(tmp_path, "good")
        assert (found.status, found.reason, found.figures["argument"]) == ("PASS", "", "")
        assert (found.warnings, found.output) == ([], [])
        assert found.seconds > 0

    @pytest.mark.parametrize(
        ("work", "status", "reason"),
        [
            ("wrong", "FAIL", "the result is off; and 2 more"),
            ("raises", "FAIL", "ZeroDivisionError: by nothing at all"),
            ("gate", "FAIL", "TensorRT could not build it"),
            ("missing", "MISSING", "there is no GPU"),
            ("fails_in_cuda", "FAIL", "a kernel read foreign memory"),
            ("fails_in_tensorrt", "FAIL", "it could not run the engine"),
            ("dies", "FAIL", "its process died by SIGSEGV"),
            ("garbage", "FAIL", "it left no result that can be read"),
            ("nonsense", "FAIL", "its process ended with exit code 1"),
            ("not_a_number", "FAIL", "a figure is no finite number"),
            ("wrong_and_not_a_number", "FAIL", "a score is not finite"),
            ("exits", "FAIL", "its process ended with exit code 7"),
            ("nosuch", "FAIL", "AttributeError: module 'gpu_check_steps' has no attribute 'nosuch'"),
        ],
    )
    def test_that_does_not(self, tmp_path, work, status, reason):
        found = outcome(tmp_path, work)
        assert (found.status, found.reason) == (status, reason)

    def test_that_hangs(self, tmp_path):
        started = time.monotonic()
        found = outcome(tmp_path, "hangs", limit=3)
        assert time.monotonic() - started < 30
        assert (found.status, found.output) == ("FAIL", ["about to wait"])
        assert found.reason.startswith("no answer within 3 s")

    def test_what_it_started_ends_with_it(self, tmp_path):
        outcome(tmp_path, "hangs_with_a_child", limit=3)
        assert (tmp_path / "work" / "child").is_file()
        groups = [each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if _readable(each)]
        assert not any(b"hangs_with_a_child" in each and str(tmp_path).encode() in each for each in groups)

    def test_the_messages_before_a_crash_are_kept(self, tmp_path):
        found = outcome(tmp_path, "dies")
        assert found.warnings == ["a warning before it"]
        assert "Fatal Python error: Segmentation fault" in found.output
        assert any("in dies" in line for line in found.output)

    def test_the_last_messages_in_one_line_each(self, tmp_path):
        found = outcome(tmp_path, "warns")
        assert found.warnings == [f"warning {number} of many" for number in range(10, 30)]
        assert found.output == ["it warned"]

    def test_an_earlier_result_does_not_count(self, tmp_path):
        assert outcome(tmp_path, "good").status == "PASS"
        (tmp_path / "logs" / "garbage.json").write_bytes((tmp_path / "logs" / "good.json").read_bytes())
        assert outcome(tmp_path, "garbage").status == "FAIL"


def _readable(path):
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize(
    "result",
    [
        None,
        7,
        [],
        {},
        {"status": "GOOD", "reason": "", "figures": {}},
        {"status": "NOT RUN", "reason": "", "figures": {}},
        {"status": "PASS", "reason": "", "figures": 1},
    ],
)
def test_anything_else_is_no_result(result):
    assert judged(0, result, 1).reason == "it left no result that can be read"


def test_a_crash_behind_a_good_result_counts():
    assert judged(-11, {"status": "PASS", "reason": "", "figures": {}}, 1).status == "FAIL"


class TestRun:
    def test_what_needs_a_failed_step_does_not_run(self, tmp_path):
        steps = [step("good", "driver", machine=True), step("wrong", needs=("driver",))]
        steps += [step("good", "after", needs=("wrong",)), step("good", "last", needs=("driver",))]
        results, said = run(tmp_path, steps)
        assert [each.status for each in results.outcomes.values()] == ["PASS", "FAIL", "NOT RUN", "PASS"]
        assert results.outcomes["after"].reason == "it needs wrong, which did not pass"
        assert said[0] == "[1/4] driver: for a test"
        stored = Results.read(tmp_path / "gpu-check.json")
        assert stored == results

    def test_the_end_at_once_without_what_is_first(self, tmp_path):
        results, _ = run(tmp_path, [step("missing", "driver", machine=True), step("good")])
        assert list(results.outcomes) == ["driver"]
        assert not (tmp_path / "gpu-check.json").exists()

    def test_the_budget(self, tmp_path):
        steps = [step("good", "first"), step("hangs"), step("good", "last")]
        started = time.monotonic()
        results, _ = run(tmp_path, steps, budget=12)
        assert time.monotonic() - started < 60
        assert [each.status for each in results.outcomes.values()] == ["PASS", "NOT RUN", "NOT RUN"]
        assert "--resume runs it again" in results.outcomes["hangs"].reason
        assert results.outcomes["last"].reason == "the budget of 12 s is used up; --resume goes on"

    def test_a_later_run_goes_on(self, tmp_path):
        first = [
            step("good", "driver", machine=True, argument="d"),
            step("wrong"),
            step("good", "a", argument="a"),
        ]
        results, _ = run(tmp_path, first)
        more = [*first, step("good", "b", argument="b")]
        again, _ = run(tmp_path, more, results)
        assert [each.status for each in again.outcomes.values()] == ["PASS", "FAIL", "PASS", "PASS"]
        # The first run, and the second without what it had: of the machine alone it asks again.
        assert (tmp_path / "work" / "ran").read_text().split() == ["d", "a", "d", "b"]

    def test_results_that_are_kept_stay_in_the_file(self, tmp_path):
        steps = [step("good", "driver", machine=True), step("good", "cuda", machine=True), step("good", "a")]
        results, _ = run(tmp_path, steps)
        again, _ = run(tmp_path, steps, results)
        assert Results.read(tmp_path / "gpu-check.json") == again
        assert list(again.outcomes) == ["driver", "cuda", "a"]

        def stop(line):
            if line.startswith("[2/3]"):
                raise KeyboardInterrupt

        stopped = Run(tmp_path / "gpu-check.json", tmp_path / "packed", 600.0, "same", "1.0", stop)
        with pytest.raises(KeyboardInterrupt):
            stopped.steps(steps, again)
        assert Results.read(tmp_path / "gpu-check.json").outcomes["a"] == again.outcomes["a"]

    @pytest.mark.parametrize("change", ["sources", "machine"])
    def test_on_another_machine_it_starts_anew(self, tmp_path, change):
        steps = [step("good", "driver", machine=True, argument="d"), step("good", "a", argument="a")]
        results, _ = run(tmp_path, steps)
        if change == "machine":
            results.outcomes["a"].machine = "another"
        run(tmp_path, steps, results, identity="other" if change == "sources" else "same")
        assert (tmp_path / "work" / "ran").read_text().split() == ["d", "a", "d", "a"]

    def test_steps_that_were_not_run_or_lacked_something_are_run_again(self, tmp_path):
        steps = [step("good", "driver", machine=True), step("good", "a", argument="a")]
        for status in ("NOT RUN", "MISSING"):
            stored, _ = run(tmp_path, steps)
            stored.outcomes["a"] = Outcome(status, machine=stored.outcomes["a"].machine)
            assert run(tmp_path, steps, stored)[0].outcomes["a"].status == "PASS"


@pytest.mark.parametrize("content", ["", "7", "{}", '{"schema": 2}', '{"schema": 1, "outcomes": {"a": {}}}'])
def test_anything_else_is_no_file_of_results(tmp_path, content):
    (tmp_path / "file").write_text(content)
    assert Results.read(tmp_path / "file") is None
    assert Results.read(tmp_path / "nothing") is None


class TestPlan:
    def test_the_steps_of_the_check(self):
        names = [each.name for each in STEPS]
        assert len(set(names)) == len(names)
        assert names[0] == "driver"
        for number, each in enumerate(STEPS):
            assert set(each.needs) <= set(names[:number])
            module, _, function = each.work.partition(":")
            assert callable(getattr(__import__(module, fromlist=[function]), function))

    def test_before_tensorrt_comes_what_needs_none(self):
        names = [each.name for each in STEPS]
        assert {"driver", "cuda", "kernels", "bundles", "deform-conv", "detection"} == set(
            names[: names.index("tensorrt")]
        )
        assert names.index("deform-conv-run") < names.index("mini-fp32") < names.index("row4")

    def test_a_step_brings_what_it_needs(self):
        assert [each.name for each in chosen(STEPS, ["nms-run"])] == [
            *("driver", "cuda", "bundles", "tensorrt", "plugins", "nms-engine", "nms-run")
        ]
        assert chosen(STEPS, []) == list(STEPS)
        with pytest.raises(BadInput, match="no step 'nosuch'; choose from driver, cuda"):
            chosen(STEPS, ["nosuch"])

    def test_the_layers(self):
        assert plan.LAYERS[0] == "convolution"


def test_results_are_json(tmp_path):
    results = Results("1.0", "2026-01-01T00:00:00+00:00", {"a": Outcome("PASS", figures={"b": 1.5})})
    assert json.loads(results.encode())["outcomes"]["a"]["figures"] == {"b": 1.5}
