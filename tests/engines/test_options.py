"""What a build is told and cannot be: refused, and not passed over."""

import pytest

from pssdet.engines.build_engine import build_engine
from pssdet.engines.options import DEFAULTS, BuildOptions
from pssdet.engines.registry import backend_named
from pssdet.errors import BadInput


@pytest.mark.parametrize(
    ("backend", "precision", "options", "message"),
    [
        ("onnxruntime", "fp32", {"workspace": 1}, "onnxruntime has no --workspace"),
        ("paddle", "fp32", {"stages": True, "opt_shapes": ("1x64x64",)}, "paddle has no --opt-shapes, --stages"),
        ("onnxruntime", "fp32", {"recipe": "x.json"}, "--fp16 or --int8"),
        ("tensorrt", "fp16", {"calibration": "x"}, "for --int8"),
        ("tensorrt", "int8", {}, "--calibration DIR"),
        ("tensorrt", "fp32", {"workspace": 0}, "--workspace is in MiB, 1 or more"),
    ],
)
def test_refused_and_not_passed_over(tmp_path, backend, precision, options, message):
    with pytest.raises(BadInput, match=message):
        build_engine(tmp_path, backend_named(backend), precision, tmp_path / "out", options=BuildOptions(**options))


def test_nothing_given_suits_every_backend():
    assert DEFAULTS.given() == []
    for name in ("tensorrt", "onnxruntime", "paddle"):
        DEFAULTS.require(name, (), "fp32")


def test_every_option_is_one_of_tensorrts():
    assert set(backend_named("tensorrt").options) == set(BuildOptions.__dataclass_fields__)
