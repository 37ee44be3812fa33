"""The plugin library: where it is looked for, and for which TensorRT it is loaded."""

from types import SimpleNamespace

import pytest

from pssdet.engines.trt import plugin_library
from pssdet.errors import EnvironmentMissing
from pssdet.plugins.bindings.libraries import find_plugins


@pytest.fixture
def trt():
    return SimpleNamespace(__version__="10.4.0")


@pytest.fixture
def library(monkeypatch):
    """A library that was compiled for the TensorRT whose number is put into it."""
    opened = []

    class Library:
        number = 100400

        def __init__(self, path, mode):
            opened.append((path, mode))

        def pssdet_plugins_tensorrt_version(self):
            return self.number

    monkeypatch.setattr(plugin_library.ctypes, "CDLL", Library)
    monkeypatch.setattr(plugin_library, "_loaded", {})
    Library.opened = opened
    return Library


def test_loaded_once_for_all_to_see(library, trt, tmp_path):
    plugin_library.load_plugins(trt, tmp_path / "a.so")
    plugin_library.load_plugins(trt, tmp_path / "." / "a.so")
    assert library.opened == [(str(tmp_path / "a.so"), plugin_library.ctypes.RTLD_GLOBAL)]


@pytest.mark.parametrize(
    ("number", "version", "fits"),
    [
        (100400, "10.4.0", True),
        (100400, "10.15.1.29", True),
        (100400, "11.1.0.106", False),
        (110100, "11.4.0", True),
        (100000, "10.0.0b6", True),
        (8600, "8.6.0", True),
        (8601, "8.6.1.post1", True),
        (8601, "8.6.0", False),
        (8600, "10.4.0", False),
    ],
)
def test_only_for_its_tensorrt(library, trt, tmp_path, number, version, fits):
    library.number, trt.__version__ = number, version
    if fits:
        plugin_library.load_plugins(trt, tmp_path / "a.so")
    else:
        with pytest.raises(EnvironmentMissing, match="was compiled for TensorRT"):
            plugin_library.load_plugins(trt, tmp_path / "a.so")


def test_a_file_that_is_no_library(monkeypatch, trt, tmp_path):
    (tmp_path / "a.so").write_text("no library")
    with pytest.raises(EnvironmentMissing, match="cannot be loaded"):
        plugin_library.load_plugins(trt, tmp_path / "a.so")


def test_where_it_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("PSSDET_PLUGINS", str(tmp_path / "none.so"))
    with pytest.raises(EnvironmentMissing, match="which is not a file"):
        find_plugins()
    (tmp_path / "none.so").touch()
    assert find_plugins() == tmp_path / "none.so"
