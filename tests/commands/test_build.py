"""What ``pssdet build`` takes: each option once, with its help, handed on whole."""

import contextlib
import io
from dataclasses import fields
from pathlib import Path

import pytest

from pssdet.commands.app import _app, execute
from pssdet.commands.build import Options, _judged, build
from pssdet.commands.tuning import Tuning
from pssdet.engines.measure import Measured


def parsed(*words):
    app = _app(name=None, about=None)
    app.default(build)
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    bound.apply_defaults()
    return bound.arguments


def run(*words):
    """Exit code and what goes to stderr."""
    app = _app(name=None, about=None)
    app.default(build)
    with contextlib.redirect_stderr(io.StringIO()) as err:
        return execute(app, words), err.getvalue()


def test_options_of_the_backends_and_of_the_tuning_stand_among_the_others():
    given = parsed(
        *("--fp16", "--opt-shapes", "1x64x64", "--opt-shapes", "2x96x64", "--workspace", "64", "--stages"),
        *(
            "--hardware-compatible",
            "ampere_plus",
            "--timing-cache",
            "a.timing",
            "--tune-precision",
            "mine.json",
        ),
    )
    assert given["fp16"]
    assert not given["int8"]
    assert given["tuning"] == Tuning(tune_precision=Path("mine.json"))
    assert given["options"] == Options(
        opt_shapes=("1x64x64", "2x96x64"),
        workspace=64,
        timing_cache=Path("a.timing"),
        stages=True,
        hardware_compatible="ampere_plus",
    )


def test_nothing_given():
    assert parsed()["options"] == Options()
    assert parsed()["tuning"] == Tuning()


def test_every_option_has_its_help(capsys):
    app = _app(name=None, about=None)
    app.default(build)
    assert execute(app, ["--help"]) == 0
    rows = [line.strip("│ ") for line in capsys.readouterr().out.splitlines()]
    for each in (*fields(Options), *fields(Tuning)):
        option = f"--{each.name.replace('_', '-')}"
        (row,) = (row for row in rows if row.split(" ")[0] == option)
        assert len(row.split("  ")[-1]) > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fp16", "--int8"), "--fp16 and --int8 exclude each other"),
        (("--recipe", "a", "--tune-precision", "b"), "--recipe and --tune-precision exclude each other"),
        (("--measure", "--json"), "--measure judges the choice of --backend auto in words"),
        (("--measure", "--backend", "onnxruntime"), "leave --backend and --json out"),
        (("--images", "a"), "--images and --annotations are what --tune-precision judges by"),
        (("--backend", "onnxruntime", "--workspace", "0"), "backend onnxruntime has no --workspace"),
        (
            ("--backend", "paddle", "--stages", "--opt-shapes", "1x64x64", "--calibration", "x"),
            (
                "backend paddle has no --calibration, --opt-shapes, --stages;"
                " leave it out or choose another --backend"
            ),
        ),
        (("--backend", "onnxruntime", "--recipe", "a"), "--recipe says what stays float32"),
        (("--backend", "onnxruntime", "--calibration", "a", "--fp16"), "--calibration is for --int8"),
        (("--backend", "onnxruntime", "--int8"), "--int8 takes ranges from pictures"),
        (("--workspace", "x"), 'Invalid value for --workspace: unable to convert "x" into int'),
        (("--opt-shapes", "1x64x64", "2x96x64"), "Unused Tokens: ['2x96x64']"),
        (("--hardware-compatible", "foo"), 'Choose from: "ampere_plus", "same_compute_capability"'),
        (("--options.recipe", "x"), "Unknown option"),
    ],
)
def test_refused_before_anything_takes_time(words, message):
    code, err = run("--model", "faster_rcnn_enhance_3x_coco", *words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err


TIMES = {"openvino": 0.0123, "onnxruntime": 0.0246}


@pytest.mark.parametrize(
    ("seconds", "chosen", "verdict"),
    [
        (TIMES, "openvino", "auto took openvino, the fastest here"),
        (
            TIMES,
            "onnxruntime",
            "auto took onnxruntime, but openvino is 2.00 x faster here: --backend openvino",
        ),
        (
            TIMES,
            "tensorrt",
            "auto took tensorrt, which could not be measured; the fastest of the others is openvino",
        ),
        ({}, "tensorrt", "auto took tensorrt; nothing could be measured"),
    ],
)
def test_the_choice_of_auto_is_judged(seconds, chosen, verdict):
    lines = _judged(Measured(seconds, {"paddle": "it differs"}), chosen).splitlines()
    assert lines[-1] == verdict
    assert lines[-2] == "  paddle: not measured (it differs)"
    assert lines[:-2] == [f"  {name}: {1000 * each:.1f} ms a picture" for name, each in seconds.items()]
