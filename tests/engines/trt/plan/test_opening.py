"""A plan that carries its plugins is opened by a process without them, which has the stub of TensorRT, too."""

import json
import sys

import pytest
from fake_trt_machine import FRESH

from pssdet.engines.trt.plan import opening
from pssdet.engines.trt.plan.opening import described_apart
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import GateFailed

PROFILE = Profile((1, 32, 32), (1, 64, 96), (4, 128, 128))
STUB = FRESH.format(version="10.4.0")


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """What ``import tensorrt`` gives to a fresh process; a test may write another one."""
    (tmp_path / "stub").mkdir()
    module = tmp_path / "stub" / "tensorrt.py"
    module.write_text(STUB)
    monkeypatch.syspath_prepend(module.parent)
    return module


@pytest.fixture
def plan(tmp_path):
    """A plan whose layers need plugins that it carries, with changes."""

    def write(**changes):
        tensor = {"Name": "x", "Format/Datatype": "Float"}
        content = {
            "layers": [{"Name": "a", "LayerType": "Unary", "Inputs": [tensor], "Outputs": [tensor]}],
            "profiles": [{"image": [[1, 3, 32, 32], [1, 3, 64, 96], [4, 3, 128, 128]]}],
            "outputs": ["y"],
            "host_code": True,
            "needs_plugins": True,
            "carries_plugins": True,
        }
        path = tmp_path / "model.plan"
        path.write_text(json.dumps(content | changes))
        return path

    return write


def test_its_layers_are_described_in_its_typical_shape(stub, plan, tmp_path):
    text = described_apart(plan(), PROFILE)
    assert json.loads(text)["Layers"][0]["Inputs"][0]["Format/Datatype"] == "Float"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.plan", "stub"]
    assert not hasattr(sys.modules.get("tensorrt"), "has_plugins")


def test_one_without_its_plugins_does_not_open(stub, plan):
    with pytest.raises(
        GateFailed, match=r"without the plugin library \(exit code 1\): .*could not find plugin"
    ):
        described_apart(plan(carries_plugins=False), PROFILE)


def test_a_crash_is_a_failure_with_its_signal(stub, plan):
    stub.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(GateFailed, match=r"exit code -11\): it said nothing"):
        described_apart(plan(), PROFILE)


def test_a_hang_ends(stub, plan, monkeypatch):
    monkeypatch.setattr(opening, "_MOST_SECONDS", 1)
    stub.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(GateFailed, match="did not open within 1 s"):
        described_apart(plan(), PROFILE)
