"""Options and exit codes of the commands; ``read_options.py`` says what is held of an option."""

import subprocess
import sys
from pathlib import Path

import pytest
from golden_files import assert_golden, pssdet, script


def test_options_of_every_command():
    program = Path(__file__).with_name("read_options.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert_golden("command_line.json", done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a text file that is called a picture, a broken configuration, a list and an empty folder."""
    made = tmp_path_factory.mktemp("commands")
    (made / "letter.jpg").write_text("Dear reader")
    (made / "bad.yml").write_text("architecture: [\n")
    (made / "list.txt").write_text("a.png 1\n")
    (made / "empty").mkdir()
    return made


@pytest.mark.parametrize("command", ["", "--help", "--version"])
def test_what_only_tells(command, folder):
    done = pssdet(*command.split(), folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (2, "nosuch"),
        (2, "zoo --nosuch"),
        (2, "zoo extra"),
        (2, "zoo --no-json"),
        (2, "export --model nosuch"),
        (2, "export --model mini_faster --config bad.yml"),
        (2, "export --config bad.yml"),
        (2, "export --config bad.yml --weights none"),
        (2, "export --config nowhere.yml --weights none"),
        (2, "export --labels nowhere.txt"),
        (2, "build --model empty"),
        (2, "build --workspace much"),
        (2, "build --recipe nowhere.json"),
        (2, "build --recipe a.json --tune-precision b.json"),
        (2, "build --tune-precision b.json"),
        (2, "build --calibration empty"),
        (3, "build --backend tensorrt --fp16"),
        (2, "detect"),
        (2, "detect nowhere.jpg"),
        (2, "detect empty"),
        (2, "detect letter.jpg --threshold 2"),
        (2, "detect letter.jpg --threshold high"),
        (2, "detect letter.jpg --json"),
        (2, "detect letter.jpg --engine empty"),
        (2, "report --annotations list.txt"),
        (2, "report --images empty"),
        (2, "report --scenes few"),
        (2, "report --scenes 1 --engines empty"),
        (2, "stages"),
        (2, "stages letter.jpg --engines empty"),
        (2, "stages letter.jpg --engines empty --reference empty"),
        (2, "top1"),
        (2, "top1 --images empty --list list.txt"),
        (2, "gpu-check --only nosuch"),
        (2, "gpu-check --pack --cases nosuch"),
        (2, "gpu-check --record nowhere.json"),
        (2, "scenes"),
        (2, "scenes out --split test"),
        (2, "scenes out --count few"),
        (2, "scenes letter.jpg --count 1"),
    ],
)
def test_exit_code_of_a_command(code, command, folder):
    done = pssdet(*command.split(), folder=folder)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert [line[:7] for line in done.stderr.splitlines()].count("error: ") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (2, "plugins/tools/compile_check.py --arch sm_1"),
        (2, "training/train_mini.py --model nosuch"),
        (2, "training/evaluate.py --nosuch"),
        (2, "benchmarks/exports.py --models nosuch"),
        (2, "benchmarks/gpu/run.py nosuch"),
        (2, "benchmarks/gpu/collect.py empty"),
    ],
)
def test_exit_code_of_a_script(code, command, folder):
    done = script(*command.split(), folder=folder)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
