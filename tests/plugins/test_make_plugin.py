"""make plugin and make plugin-tensorrt: the headers that they take, and what they say where one is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Nothing of a make that runs these tests, nor of a user's choice of TensorRT.
OUTSIDE = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TENSORRT"))
}

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def make(*arguments, **environment):
    """The exit code of make in this checkout, and all that it prints."""
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=OUTSIDE | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def headers(tmp_path):
    """A folder of headers of one tag."""
    include = tmp_path / "headers" / "v10.4.0" / "include"
    include.mkdir(parents=True)
    (include / "NvInfer.h").touch()
    return tmp_path / "headers"


def commands(target, *arguments):
    code, said = make("--dry-run", target, *arguments)
    assert code == 0, said
    return said


def test_plugins_take_the_headers_of_the_tag(headers):
    said = commands("plugin", "TENSORRT_TAG=v10.4.0", f"TENSORRT_HEADERS={headers}", "CMAKE_OPTIONS=-DA=B")
    assert f"-S . -B build/cmake -DTensorRT_ROOT={headers}/v10.4.0 -DA=B" in said
    assert "clone" not in said


def test_headers_that_are_missing_are_fetched_once(headers):
    said = commands("plugin", "TENSORRT_TAG=v11.1", f"TENSORRT_HEADERS={headers}")
    assert "--branch v11.1" in said
    assert f"https://github.com/NVIDIA/TensorRT {headers}/.v11.1" in said


def test_plugins_without_a_tag_fetch_nothing(headers):
    said = commands("plugin", f"TENSORRT_HEADERS={headers}")
    assert "clone" not in said
    assert "TensorRT_ROOT" not in said


def test_a_fetch_brings_only_the_headers(headers, tmp_path):
    repository = tmp_path / "repository"
    for name in ("include/NvInfer.h", "demo/large.bin"):
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_text(name)
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "a"], ["tag", "v11.1"]):
        subprocess.run(["git", *identity, *command], cwd=repository, check=True)
    target = f"{headers}/v11.1/include/NvInfer.h"
    source = f"TENSORRT_REPOSITORY=file://{repository}"
    code, said = make(target, f"TENSORRT_HEADERS={headers}", source)
    assert code == 0, said
    assert sorted(path.name for path in (headers / "v11.1").iterdir()) == [".git", "include"]
    assert {path.name for path in headers.iterdir()} == {"v10.4.0", "v11.1"}

    code, said = make(f"{headers}/v12/include/NvInfer.h", f"TENSORRT_HEADERS={headers}", source)
    assert code != 0
    assert "v12" in said
    assert not (headers / "v12").exists()


def test_libraries_are_built_where_headers_are_at_hand(headers):
    nvcc = shutil.copy(shutil.which("true"), headers / "nvcc")
    options = ("plugin-tensorrt", f"TENSORRT_HEADERS={headers}", "TENSORRT_TAGS=v8.6.0 v11.1")
    code, said = make(*options, CUDACXX=str(nvcc))
    assert code == 0
    assert said.splitlines() == [
        f"not built: plugins for TensorRT {tag}, no headers in {headers}/{tag}/include"
        for tag in ("v8.6.0", "v11.1")
    ]


def test_libraries_are_not_built_without_nvcc(headers):
    code, said = make(
        "plugin-tensorrt", f"TENSORRT_HEADERS={headers}", "TENSORRT_TAGS=v10.4.0", CUDACXX="/no/nvcc"
    )
    assert (code, said.strip()) == (0, "not built: plugins for TensorRT v10.4.0, no nvcc")


def test_who_names_a_tensorrt_wants_its_plugins(headers, tmp_path):
    cmake = shutil.which("cmake", path=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    if not (cmake and shutil.which("c++")):
        pytest.skip("no CMake or no C++ compiler")
    options = ("-DPSSDET_CUDA=OFF", "-DBUILD_TESTING=OFF", f"-DTensorRT_ROOT={headers}/v10.4.0")
    done = subprocess.run(
        [cmake, "-S", ROOT, "-B", tmp_path / "build", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "TensorRT plugins: cannot be built, they need the CUDA kernels" in done.stderr
