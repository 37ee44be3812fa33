"""The stub of TensorRT against a real one, where PSSDET_TENSORRT_PYTHON names a Python that has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_trt_build
import pytest

from pssdet.engines.trt.plan.capabilities import capabilities_of

ASK = Path(__file__).parent / "ask_tensorrt.py"
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def answer():
    python = os.environ.get("PSSDET_TENSORRT_PYTHON", sys.executable)
    done = subprocess.run(
        [python, str(ASK), str(ROOT / "src"), str(ROOT / "tests")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = json.loads(done.stdout.strip().split("\n")[-1])
    if "skip" in said:
        pytest.skip(said["skip"])
    return said


def test_the_table_of_its_names_is_right(answer):
    assert answer["wrong"] == []


def test_the_stub_of_its_generation_has_the_same_capabilities(answer):
    stub = {"8": "8.6.0", "10": "10.4.0", "11": "11.1.0"}[answer["version"].split(".")[0]]
    capabilities = capabilities_of(fake_trt_build.FakeTensorRT(stub))
    assert answer["capabilities"] == {
        name: value for name, value in vars(capabilities).items() if isinstance(value, bool)
    }
    assert answer["route"] == ("flags" if stub.startswith("8") else "typed")


def test_what_we_derive_from_its_classes_works(answer):
    assert answer["errors"] == "an error"
    assert answer["reported"] == (
        ["TensorRT: phase", "TensorRT: phase, 50 %"] if answer["capabilities"]["progress"] else []
    )
