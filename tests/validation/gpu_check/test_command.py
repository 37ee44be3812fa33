"""``gpu-check`` as users call it: with cyclopts, without, on a machine without a GPU, on stubs of steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden_files import pssdet

from pssdet.errors import BadInput, EnvironmentMissing, GateFailed
from pssdet.validation.gpu_check import command
from pssdet.validation.gpu_check.__main__ import main
from pssdet.validation.gpu_check.command import Options, gpu_check
from pssdet.validation.gpu_check.plan import STEPS, Step
from pssdet.validation.gpu_check.report import MARKER
from pssdet.validation.gpu_check.runner import Outcome, Results

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[2] / "src"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(SOURCE)]))


def step(work, name="", **more):
    return Step(name or work, "for a test", f"gpu_check_steps:{work}", 60, **more)


def check(tmp_path, *steps, **options):
    said = []
    gpu_check(Options(output=tmp_path / "out", bundles=tmp_path / "packed", **options), said.append, steps)
    return said


@pytest.mark.parametrize("command", ["pssdet", "python -m"])
def test_without_a_gpu(command, tmp_path):
    if command == "pssdet":
        done = pssdet("gpu-check", folder=tmp_path)
    else:
        words = [sys.executable, "-m", "pssdet.validation.gpu_check"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode != 3:
        pytest.skip("there is a GPU here")
    assert done.stderr.startswith("error: nothing was checked: there is no NVIDIA GPU with a driver")
    assert len(done.stderr.splitlines()) == 1
    for each in STEPS:
        assert f"  {each.name}: {each.about}" in done.stdout
    assert not list(tmp_path.rglob("gpu-check.*"))


class TestCheck:
    def test_all_pass(self, tmp_path):
        said = check(tmp_path, step("good", "driver", machine=True), step("good"))
        assert said[-1].startswith("2 PASS; wrote ")
        assert "| good | for a test | PASS |" in (tmp_path / "out" / "gpu-check.md").read_text()

    @pytest.mark.parametrize(
        ("work", "error", "words"),
        [
            ("wrong", GateFailed, "1 steps failed, the first: it: the result is off; and 2 more"),
            ("dies", GateFailed, "the first: it: its process died by SIGSEGV"),
            ("missing", EnvironmentMissing, "nothing failed, but it could not run: there is no GPU"),
        ],
    )
    def test_what_did_not(self, tmp_path, work, error, words):
        with pytest.raises(error, match=words):
            check(tmp_path, step("good", "driver", machine=True), step(work, "it"))
        assert (tmp_path / "out" / "gpu-check.md").is_file()

    def test_the_budget(self, tmp_path):
        with pytest.raises(GateFailed, match="nothing failed, but 1 steps were not run: --resume goes on"):
            check(tmp_path, step("good", "driver", machine=True), budget=3)

    def test_only_named_steps_run_and_run_again(self, tmp_path):
        names = [("driver", ()), ("a", ("driver",)), ("b", ("driver",))]
        steps = [step("good", name, argument=name, needs=needs, machine=not needs) for name, needs in names]
        check(tmp_path, *steps, only=("a",))
        stored = tmp_path / "out" / "gpu-check.json"
        assert list(Results.read(stored).outcomes) == ["driver", "a"]
        check(tmp_path, *steps, only=("b",), resume=True)
        assert list(Results.read(stored).outcomes) == ["driver", "a", "b"]
        check(tmp_path, *steps, only=("a",), resume=True)
        ran = (tmp_path / "out" / "work" / "ran").read_text().split()
        assert ran == ["driver", "a", "driver", "b", "driver", "a"]
        with pytest.raises(BadInput, match="no step 'c'"):
            check(tmp_path, *steps, only=("c",))

    def test_nothing_private_is_written(self, tmp_path):
        with pytest.raises(GateFailed):
            check(tmp_path, step("good", "driver", machine=True), step("raises"))
        for name in ("gpu-check.json", "gpu-check.md"):
            text = (tmp_path / "out" / name).read_text()
            assert "ZeroDivisionError" in text
            assert str(tmp_path) not in text
            assert str(HERE) not in text

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises((BadInput, OSError)):
            check(tmp_path, step("good", "driver", machine=True))


@pytest.mark.parametrize("folder", ["engines/trt", "models", "plugins/bindings", "validation/gpu_check", "own"])
def test_changed_sources_are_others(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "__file__", str(tmp_path / "validation" / "gpu_check" / "command.py"))
    source = tmp_path / folder / "module.py"
    source.parent.mkdir(parents=True)
    source.write_text("limit = 1")
    before = command._identity([tmp_path / "own"])
    source.write_text("limit = 2")
    assert command._identity([tmp_path / "own"]) != before


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--pack", "--record", "a.json"], "exclude each other"),
            (["--cases", "mini"], "--cases says what --pack packs"),
            (["--pack", "--cases", "nosuch"], "no case 'nosuch'; choose from mini, scenes, row4"),
            (["--only", "nosuch"], "no step 'nosuch'"),
            (["--record", "nowhere.json"], "nowhere.json holds no results of this version"),
        ],
    )
    def test_bad_ones(self, options, words, capsys):
        assert main(options) == 2
        assert words in capsys.readouterr().err

    def test_both_commands_have_the_same(self):
        import dataclasses
        import inspect

        from pssdet.commands.gpu_check import gpu_check as command

        ours = {name: each.default for name, each in inspect.signature(command).parameters.items()}
        assert ours == {each.name: each.default for each in dataclasses.fields(Options)}
        given = {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "pssdet.validation.gpu_check.__main__.gpu_check", lambda options, _: given.update(vars(options))
            )
            assert main([]) == 0
        assert given == ours


class TestRecord:
    @pytest.fixture
    def source(self, tmp_path):
        driver = Outcome("PASS", figures={"identity": {"GPU": "Stub 1", "driver": "550.1"}})
        path = tmp_path / "gpu-check.json"
        path.write_bytes(Results("0.1.0", "2026-11-29", {"driver": driver}).encode())
        return path

    def test_a_row(self, source, tmp_path, capsys):
        page = tmp_path / "status.md"
        page.write_text(f"| GPU |\n|-|\n{MARKER}\n")
        assert main(["--record", str(source), "--page", str(page)]) == 0
        assert (
            "| Stub 1 | driver 550.1, CUDA not known, TensorRT not known | 2026-11-29 | 1 PASS |"
            in page.read_text()
        )
        assert main(["--record", str(source), "--page", str(page)]) == 0
        assert "has this run already" in capsys.readouterr().out
        assert page.read_text().count("Stub 1") == 1

    def test_a_page_without_the_marker_or_none(self, source, tmp_path, capsys):
        page = tmp_path / "status.md"
        assert main(["--record", str(source), "--page", str(page)]) == 2
        page.write_text("text\n")
        assert main(["--record", str(source), "--page", str(page)]) == 2
        assert f"{page}: the page has no line <!-- runs -->" in capsys.readouterr().err
        assert page.read_text() == "text\n"


def test_a_machine_whose_driver_alone_answers(bundles, tmp_path):
    """The real steps, in their processes, where everything but a driver is missing."""
    (tmp_path / "sitecustomize.py").write_text(
        "from pssdet.engines import devices\n"
        "devices.gpu = lambda: devices.Gpu('Stub 1', (7, 0), '12.4', '550.1')\n"
    )
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "gpu").symlink_to(bundles)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(SOURCE)])}
    environment |= {"PSSDET_KERNELS": str(tmp_path / "nowhere.so"), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "-m", "pssdet.validation.gpu_check"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: 1 steps failed, the first: cuda: ")
    found = Results.read(tmp_path / "artifacts" / "gpu-check" / "gpu-check.json").outcomes
    assert list(found) == [each.name for each in STEPS]
    assert {name: found[name].status for name in ("driver", "cuda", "kernels", "bundles")} == {
        "driver": "PASS",
        "cuda": "FAIL",
        "kernels": "MISSING",
        "bundles": "PASS",
    }
    page = (tmp_path / "artifacts" / "gpu-check" / "gpu-check.md").read_text()
    assert page.startswith("# GPU check: Stub 1\n\n22 NOT RUN, 2 PASS, 1 FAIL, 1 MISSING;")
    assert str(tmp_path) not in page
