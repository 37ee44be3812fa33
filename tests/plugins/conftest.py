"""The CPU part of the library, built once per session from these sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from parallel import shared_folder

from pssdet.plugins.library import Library

ROOT = Path(__file__).resolve().parents[2]


def _cmake():
    beside_python = Path(sys.executable).with_name("cmake")
    return str(beside_python) if beside_python.is_file() else shutil.which("cmake")


def _compiler():
    return next(
        (name for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name and shutil.which(name)), None
    )


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    cmake = _cmake()
    if not cmake:
        pytest.skip("no cmake: pip install cmake")
    if not _compiler():
        pytest.skip("no C++ compiler")

    def build(folder):
        for step in (
            ["-S", ROOT, "-B", folder, "-DPSSDET_CUDA=OFF"],
            ["--build", folder, "--target", "pssdet_reference"],
        ):
            subprocess.run([cmake, *step], check=True, stdout=subprocess.DEVNULL)

    return Library(shared_folder(tmp_path_factory, "cmake", build) / "lib" / "libpssdet_reference.so")
