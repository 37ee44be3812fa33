"""Where the library is looked for, and what is said when it cannot be used."""

import shutil

import pytest

from pssdet.errors import EnvironmentMissing
from pssdet.plugins import library as module
from pssdet.plugins.library import Library, find_library
from pssdet.plugins.problem import Format, Problem


def test_the_variable_goes_first(library, monkeypatch):
    monkeypatch.setenv("PSSDET_KERNELS", str(library.path))
    assert find_library() == library.path
    assert Library().path == library.path


def test_the_variable_names_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PSSDET_KERNELS", str(tmp_path / "nowhere.so"))
    with pytest.raises(EnvironmentMissing, match=r"nowhere\.so"):
        find_library()


@pytest.mark.parametrize("folder", [".", "../build/cmake/lib"])
def test_beside_the_package_or_in_the_checkout(monkeypatch, tmp_path, folder):
    monkeypatch.delenv("PSSDET_KERNELS", raising=False)
    package = tmp_path / "plugins"
    package.mkdir()
    monkeypatch.setattr(module, "__file__", str(package / "library.py"))
    with pytest.raises(EnvironmentMissing, match="make plugin"):
        find_library()
    (package / folder).resolve().mkdir(parents=True, exist_ok=True)
    for name in ("libpssdet_reference.so", "libpssdet_kernels.so"):
        (package / folder / name).resolve().touch()
        assert find_library().name == name


def test_a_file_that_is_no_library(tmp_path):
    (tmp_path / "broken.so").write_text("no")
    with pytest.raises(EnvironmentMissing, match=r"broken\.so"):
        Library(tmp_path / "broken.so")


def test_a_library_of_something_else():
    with pytest.raises(EnvironmentMissing, match=r"libc\.so\.6"):
        Library(module.Path("libc.so.6"))


def test_a_library_of_another_version(library, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_VERSION", "2")
    with pytest.raises(EnvironmentMissing, match="version 1, 2 is needed"):
        Library(shutil.copy(library.path, tmp_path / "old.so"))


def test_the_cpu_library_has_no_kernels(library):
    assert not library.has_cuda
    problem = Problem(1, 8, 5, 6, 8)
    with pytest.raises(EnvironmentMissing, match="without CUDA"):
        library.tile_count(problem, Format())
    with pytest.raises(EnvironmentMissing, match="without CUDA"):
        library.run(problem, Format(), x=16, offset=16, weight=16, y=16)
