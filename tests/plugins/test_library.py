"""Where the library is looked for, and the errors when it cannot be used."""

import shutil
from pathlib import Path

import pytest

from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings import deform_conv, libraries
from pssdet.plugins.bindings.deform_conv import DeformConvLibrary
from pssdet.plugins.bindings.libraries import find_kernels, find_plugins


def test_the_variable_goes_first(library, monkeypatch):
    monkeypatch.setenv("PSSDET_KERNELS", str(library.path))
    assert find_kernels() == library.path
    assert DeformConvLibrary().path == library.path


@pytest.mark.parametrize(
    ("find", "variable"), [(find_kernels, "PSSDET_KERNELS"), (find_plugins, "PSSDET_PLUGINS")]
)
def test_the_variable_names_nothing(monkeypatch, tmp_path, find, variable):
    monkeypatch.setenv(variable, str(tmp_path / "nowhere.so"))
    with pytest.raises(EnvironmentMissing, match=rf"{variable} names .*nowhere\.so, which is not a file"):
        find()


@pytest.mark.parametrize("folder", [".", "../build/cmake/lib"])
def test_beside_the_package_or_in_the_checkout(monkeypatch, tmp_path, folder):
    monkeypatch.delenv("PSSDET_KERNELS", raising=False)
    package = tmp_path / "plugins"
    package.mkdir()
    monkeypatch.setattr(libraries, "__file__", str(package / "bindings" / "libraries.py"))
    with pytest.raises(EnvironmentMissing, match="make plugin"):
        find_kernels()
    (package / folder).resolve().mkdir(parents=True, exist_ok=True)
    (package / folder / "libpssdet_kernels.so").resolve().touch()
    assert find_kernels().name == "libpssdet_kernels.so"


@pytest.mark.parametrize("folder", [".", "../build/cmake/lib"])
def test_plugins_beside_the_package_or_in_the_checkout(monkeypatch, tmp_path, folder):
    monkeypatch.delenv("PSSDET_PLUGINS", raising=False)
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "plugins" / "bindings" / "libraries.py"))
    with pytest.raises(
        EnvironmentMissing, match=r"libpssdet_plugins\.so is not built.*make plugin TENSORRT_TAG="
    ):
        find_plugins()
    library = (tmp_path / "plugins" / folder).resolve() / "libpssdet_plugins.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert find_plugins() == library


def test_a_file_that_is_no_library(tmp_path):
    (tmp_path / "broken.so").write_text("no")
    with pytest.raises(EnvironmentMissing, match=r"broken\.so"):
        DeformConvLibrary(tmp_path / "broken.so")


def test_a_library_of_something_else():
    with pytest.raises(EnvironmentMissing, match=r"libc\.so\.6"):
        DeformConvLibrary(Path("libc.so.6"))


def test_a_library_of_another_version(library, monkeypatch, tmp_path):
    monkeypatch.setattr(deform_conv, "_VERSION", "2")
    with pytest.raises(EnvironmentMissing, match="version 1, 2 is needed"):
        DeformConvLibrary(shutil.copy(library.path, tmp_path / "old.so"))


def test_a_library_without_kernels_is_not_one_of_cuda(library):
    assert not library.has_cuda
