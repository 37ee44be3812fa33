"""The CPU parts of the libraries, built once per session from these sources."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parallel import shared_folder
from reference_convolution import ReferenceConvolution

from pssdet.plugins.bindings.detection import DetectionLibrary

ROOT = Path(__file__).resolve().parents[2]


def _cmake():
    beside_python = Path(sys.executable).with_name("cmake")
    return str(beside_python) if beside_python.is_file() else shutil.which("cmake")


def _compiler():
    return next(
        (name for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name and shutil.which(name)), None
    )


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Builds a target without CUDA; gives the path of its library."""
    cmake = _cmake()
    if not cmake:
        pytest.skip("no cmake: pip install cmake")
    if not _compiler():
        pytest.skip("no C++ compiler")

    def target(name):
        def make(folder):
            for step in (
                ["-S", ROOT, "-B", folder, "-DPSSDET_CUDA=OFF"],
                ["--build", folder, "--target", name],
            ):
                subprocess.run([cmake, *step], check=True, stdout=subprocess.DEVNULL)

        # A folder for each target, as workers may build at once.
        return shared_folder(tmp_path_factory, f"cmake-{name}", make) / "lib" / f"lib{name}.so"

    return target


@pytest.fixture(scope="session")
def library(build):
    return ReferenceConvolution(build("pssdet_reference"))


@pytest.fixture(scope="session")
def kernels(build):
    """The detection kernels' own source, run on the CPU."""
    return DetectionLibrary(build("pssdet_emulated"))


@pytest.fixture(scope="session")
def emulated(build):
    """The same library as it is, for the preprocessing kernel."""
    return ctypes.CDLL(str(build("pssdet_emulated")))
