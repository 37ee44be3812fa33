"""Options that a build cannot follow are refused, not ignored."""

from dataclasses import fields
from pathlib import Path

import pytest

from pssdet.commands.build import Options
from pssdet.engines.backend import DEFAULTS, PrecisionOptions
from pssdet.engines.backends.tensorrt_gpu import TensorRTOptions
from pssdet.engines.build_engine import build_engine
from pssdet.engines.registry import _MODULES, backend_named
from pssdet.errors import BadInput


@pytest.mark.parametrize(
    ("backend", "precision", "options", "message"),
    [
        ("onnxruntime", "fp32", {"workspace": 1}, "onnxruntime has no --workspace"),
        (
            "paddle",
            "fp32",
            {"stages": True, "opt_shapes": ("1x64x64",)},
            "paddle has no --opt-shapes, --stages",
        ),
        ("onnxruntime", "fp32", {"recipe": "x.json"}, "--fp16, --bf16 or --int8"),
        ("tensorrt", "fp16", {"calibration": "x"}, "for --int8"),
        ("tensorrt", "int8", {}, "--calibration DIR"),
        ("tensorrt", "fp32", {"workspace": 0}, "--workspace is in MiB, 1 or more"),
        ("tensorrt", "fp16", {"plugins_in_plan": True}, "give --version-compatible beside --plugins-in-plan"),
        ("tensorrt", "fp32", {"precision_route": "flags"}, "--precision-route flags is for --fp16 and --int8"),
    ],
)
def test_refused_and_not_passed_over(tmp_path, backend, precision, options, message):
    with pytest.raises(BadInput, match=message):
        build_engine(
            tmp_path, backend_named(backend), precision, tmp_path / "out", options=TensorRTOptions(**options)
        )


def test_nothing_given_suits_every_backend():
    assert DEFAULTS.given() == []
    for name in _MODULES:
        backend = backend_named(name)
        assert backend.accept(Options(), "fp32") == backend.accept(DEFAULTS, "fp32") == backend.options()


def test_the_command_line_has_the_options_of_every_backend():
    offered = {each.name: each.default for each in fields(Options)}
    for name in _MODULES:
        assert {
            each.name: each.default for each in fields(backend_named(name).options)
        }.items() <= offered.items()


def test_options_are_recorded_as_a_shell_has_them_in_the_order_of_the_class():
    options = TensorRTOptions(
        stages=True, opt_shapes=("1x64x64", "2x96x64"), workspace=64, recipe=Path("my recipe")
    )
    recorded = {"recipe": "'my recipe'", "opt_shapes": "1x64x64 2x96x64", "workspace": "64", "stages": ""}
    assert list(options.recorded().items()) == list(recorded.items())


def test_options_shared_by_backends_are_handed_on():
    shared = PrecisionOptions(calibration=Path("x"))
    assert backend_named("tensorrt").accept(shared, "int8") == TensorRTOptions(calibration=Path("x"))
    assert backend_named("onnxruntime").accept(TensorRTOptions(calibration=Path("x")), "int8") == shared
