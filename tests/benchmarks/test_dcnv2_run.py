"""The whole benchmark on the CPU: NumPy for the GPU, the float64 reference for the kernels, tiny layers."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_gpu import FakeKernels, NumpyDevice

from benchmarks.gpu import dcnv2
from benchmarks.gpu.dcnv2_steps import Dcnv2Bench, Workload
from benchmarks.gpu.shapes import ODD

ODDS = {
    name: ODD[name]
    for name in ("stride 2, batch of 3", "odd channels", "groups and offset groups, stride (2, 1)")
}
TINY = Workload(((32, 64),), (1, 2), (1, 2), (50,), (8, 16, 24), 4, 8, ODDS)


def baseline(device, layers, seed):
    return lambda: None


def absent(device, layers, seed):
    raise RuntimeError("it is\nnot here")


def no_opinion(device, problem, values):
    raise ImportError("there is no other float64 implementation here")


def maker(kernels, workload=TINY, **changes):
    def make(_):
        bench = Dcnv2Bench(
            NumpyDevice(), kernels, {"torchvision": baseline, "tensorrt": absent}, no_opinion, workload
        )
        return replace(bench, **changes)

    return make


def run(folder, kernels, *options, **changes):
    return dcnv2.main(["--output", str(folder), *options], maker(kernels, **changes))


def stored(folder):
    return json.loads((folder / "dcnv2_stub_1.json").read_text())


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    assert run(folder, FakeKernels()) == 0
    return folder


def test_all_steps_are_stored(good):
    assert sorted(path.name for path in good.iterdir()) == ["dcnv2_stub_1.json", "dcnv2_stub_1.md"]
    names = ["odd shapes", "correctness 32x64", "two streams", "second opinion", "ceilings"]
    names += ["sums R50 32x64 N=1", "sums R50 32x64 N=2", "layers 32x64 N=1", "layers 32x64 N=2"]
    assert list(stored(good)["steps"]) == names


def test_every_format_reach_and_tile_is_checked(good):
    rows = stored(good)["steps"]["correctness 32x64"]["result"]["rows"]
    assert len(rows) == 6 * 4 * 3  # N=1 near, N=2 near and far
    assert {row["format"] for row in rows} == {"fp16 NHWC", "fp16 NHWC, raw", "fp16 NCHW", "fp32 NCHW"}
    for row in rows:
        fused = row["format"].startswith("fp16 NHWC")
        assert list(row["errors"]) == (["auto", "tile 0", "tile 1"] if fused else ["auto"])
        assert row["failures"] == []
        assert max(row["errors"].values()) < (6e-4 if row["format"].startswith("fp16") else 1e-7)
    # Half the smallest step of float16 is seen: the comparison is not of the reference with itself.
    assert max(row["errors"]["auto"] for row in rows) > 1e-5


def test_the_report_says_what_there_is(good):
    text = (good / "dcnv2_stub_1.md").read_text()
    assert "# DCNv2 on NVIDIA Stub 1" in text
    assert "0 failures" in text
    assert "Roofline: not computed" in text
    assert "0 of 384 results differ" in text
    assert "not measured (there is no other float64 implementation here)" in text


def test_times_are_divided_by_the_sets(good):
    result = stored(good)["steps"]["sums R50 32x64 N=1"]["result"]
    assert result["times"]["fp16 NHWC"]["sets"] == 2
    assert result["times"]["fp16 NHWC"]["runs"] == 4
    assert result["unavailable"] == {"tensorrt": "it is not here"}


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("wrong", "relative error"),
        ("unwritten", "not written"),
        ("outside", "outside of the output"),
        ("random", "two runs differ"),
        ("refuses", "refused the problem"),
    ],
)
def test_what_is_wrong_of_one_tile_is_found(tmp_path, capsys, fault, word):
    workload = replace(
        TINY, timed_batches=(), odd={"stride 2": ODD["stride 2, batch of 3"]}, checked_batches=()
    )
    assert run(tmp_path, FakeKernels(fault), workload=workload) == 1
    rows = stored(tmp_path)["steps"]["odd shapes"]["result"]["rows"]
    failures = [failure for row in rows for failure in row["failures"]]
    assert len(failures) == 4  # two fused formats, two reaches
    assert all(failure.startswith("tile 1: ") and word in failure for failure in failures)
    out, err = capsys.readouterr()
    assert err.startswith(
        "error: 4 checks failed, the first: odd shapes, stride 2, N=3, fp16 NHWC, near offsets: tile 1"
    )
    assert "4 FAILED" in out
    assert word in (tmp_path / "dcnv2_stub_1.md").read_text()


def test_a_wrong_size_is_found(tmp_path):
    class Taller(FakeKernels):
        def output_size(self, problem):
            return problem.out_height + 1, problem.out_width

    workload = replace(TINY, timed_batches=(), odd={"a": ODD["odd channels"]}, checked_batches=())
    assert run(tmp_path, Taller(), workload=workload) == 1


def test_streams_that_disturb_each_other_are_found(tmp_path, capsys):
    class Disturbed(NumpyDevice):
        def at_once(self, replays):
            super().at_once(replays)
            replays[0].keeps.args[-1][3].__self__.memory[70] += 1

    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, FakeKernels(), workload=workload, device=Disturbed()) == 1
    assert "1 of 32 results differ" in capsys.readouterr().err


def test_results_of_the_recording_do_not_count(tmp_path):
    class Idle(NumpyDevice):
        def at_once(self, replays):
            pass

    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, FakeKernels(), workload=workload, device=Idle()) == 1


def test_a_reference_that_somebody_contradicts(tmp_path, capsys):
    def opinion(device, problem, values):
        return np.ones((problem.batch, problem.out_channels, problem.out_height, problem.out_width))

    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, FakeKernels(), workload=workload, second_opinion=opinion) == 1
    assert "the float64 reference differs" in capsys.readouterr().err


def test_a_stopped_run_goes_on(tmp_path, capsys):
    class Stopped(NumpyDevice):
        def times_us(self, work, iterations):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeKernels(), device=Stopped())
    done = stored(tmp_path)["steps"]
    assert list(done) == ["odd shapes", "correctness 32x64", "two streams", "second opinion"]
    capsys.readouterr()
    assert run(tmp_path, FakeKernels()) == 0
    assert "5 of 9 steps to do" in capsys.readouterr().out
    after = stored(tmp_path)
    assert {name: after["steps"][name] for name in done} == done
    assert len(after["runs"]) == 2
    assert run(tmp_path, FakeKernels()) == 0
    assert "0 of 9 steps to do" in capsys.readouterr().out


def test_results_of_other_kernels_are_not_continued(good, tmp_path, capsys):
    class Newer(FakeKernels):
        path = Path(__file__)

    path = tmp_path / "dcnv2_stub_1.json"
    path.write_bytes((good / path.name).read_bytes())
    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, Newer(), workload=workload) == 0
    assert "5 of 5 steps to do" in capsys.readouterr().out


def test_fresh_forgets(good, tmp_path, capsys):
    path = tmp_path / "dcnv2_stub_1.json"
    path.write_bytes((good / path.name).read_bytes())
    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, FakeKernels(), "--fresh", workload=workload) == 0
    assert "5 of 5 steps to do" in capsys.readouterr().out
    assert len(stored(tmp_path)["runs"]) == 1


def test_quick_has_a_file_of_its_own(tmp_path):
    workload = replace(TINY, timed_batches=(), odd={}, checked_batches=())
    assert run(tmp_path, FakeKernels(), "--quick", workload=workload) == 0
    assert (tmp_path / "dcnv2_stub_1_quick.json").is_file()
    assert "A quick run" in (tmp_path / "dcnv2_stub_1_quick.md").read_text()


def test_a_step_that_breaks_off_costs_no_other(tmp_path, capsys):
    class NoGraphs(NumpyDevice):
        def record(self, work):
            raise RuntimeError("no\ngraphs")

    assert run(tmp_path, FakeKernels(), device=NoGraphs()) == 1
    assert list(stored(tmp_path)["steps"]) == ["odd shapes", "correctness 32x64", "second opinion"]
    out, err = capsys.readouterr()
    assert "BROKEN OFF: two streams: no graphs" in out
    assert err.count("broke off") == 6


def test_a_device_that_is_gone_ends_the_run(tmp_path, capsys):
    class Gone(NumpyDevice):
        def synchronize(self):
            raise RuntimeError("an illegal memory access")

    assert run(tmp_path, FakeKernels(), device=Gone()) == 1
    out, err = capsys.readouterr()
    assert out.count("BROKEN OFF") == 1
    assert "another run" in out
    assert "illegal memory access" in err


class TestCommand:
    def test_no_gpu_is_exit_code_3(self, tmp_path):
        done = self.run("--output", str(tmp_path))
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("error: PyTorch ")
        assert list(tmp_path.iterdir()) == []

    def test_help_and_usage(self):
        assert "--quick" in self.run("--help").stdout
        assert self.run("--slow").returncode == 2

    def test_a_folder_that_cannot_be(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        assert run(tmp_path / "file", FakeKernels()) == 2
        assert "a folder is needed" in capsys.readouterr().err

    def run(self, *options):
        script = dcnv2.ROOT / "benchmarks" / "gpu" / "dcnv2.py"
        hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, str(script), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=hidden)
