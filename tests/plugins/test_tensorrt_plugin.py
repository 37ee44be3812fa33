"""The plugin library in Python's TensorRT; what it answers in detail, the C++ tests in plugins/tests ask.

The library is found as everywhere (PSSDET_PLUGINS); PSSDET_TENSORRT_PYTHON names a Python that has TensorRT.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.libraries import find_plugins

PROGRAM = Path(__file__).with_name("use_plugin.py")


@pytest.fixture(scope="module")
def library():
    try:
        return find_plugins()
    except EnvironmentMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("way", ["dlopen", "load"])
def test_python_finds_and_makes_the_plugins(library, way):
    python = os.environ.get("PSSDET_TENSORRT_PYTHON", sys.executable)
    done = subprocess.run([python, PROGRAM, library, way], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    if "skip" in result:
        pytest.skip(result["skip"])
    assert result
    assert all(result.values()), (result, done.stderr)
    log = done.stdout + done.stderr
    for line in (
        "PssDetDeformConv2d: pads has 3 values, not 4",
        "PssDetGenerateProposals: 24 values of anchors are not four for each",
        "PssDetMultilevelRoiAlign: aligned is 2, not within 0..1",
        "PssDetMulticlassNms: nms_threshold is nan, not within 0..1",
    ):
        assert line in log
