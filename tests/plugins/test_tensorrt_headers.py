"""The tag of NVIDIA/TensorRT whose headers fit, and the command that errors give."""

from importlib import metadata

import pytest

from pssdet.plugins.bindings import tensorrt_headers
from pssdet.plugins.bindings.libraries import find_plugins
from pssdet.plugins.bindings.tensorrt_headers import headers_tag, how_to_build_plugins, numbers_of, serves


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("8.5.3.1", "8.5.3"),
        ("8.6.0", "v8.6.0"),
        ("8.6.1.post1", "v8.6.1"),
        ("8.4.3.1", None),
        ("9.2.0.post12.dev5", None),
        ("10.0.0b6", "v10.0.0"),
        ("10.4.0", "v10.4.0"),
        ("10.14.1.48", "v10.14"),
        ("10.16.2.3", "v10.16"),
        ("11.1.0.106", "v11.1"),
        ("11.4.0", "v11.1"),
        ("12.0.0", None),
    ],
)
def test_the_newest_headers_that_serve(version, tag):
    assert headers_tag(version) == tag


def test_a_library_of_each_tag_serves_what_it_is_named_for():
    for numbers in tensorrt_headers._TAGS:
        assert serves(numbers, numbers_of(".".join(map(str, numbers))))
        assert numbers >= (8, 5)


class TestCommand:
    def test_of_the_installed_tensorrt(self, monkeypatch):
        self._install(monkeypatch, **{"tensorrt-cu12": "10.4.0"})
        assert how_to_build_plugins().startswith("make plugin TENSORRT_TAG=v10.4.0 builds it")

    def test_of_the_one_in_use(self, monkeypatch):
        self._install(monkeypatch, **{"tensorrt-cu12": "10.4.0"})
        assert how_to_build_plugins("11.1.0.106").startswith("make plugin TENSORRT_TAG=v11.1 builds it")

    @pytest.mark.parametrize("packages", [{}, {"tensorrt": "12.0.0"}])
    def test_of_none_that_is_known(self, monkeypatch, packages):
        self._install(monkeypatch, **packages)
        assert how_to_build_plugins().startswith("make plugin TENSORRT_TAG=TAG builds it")
        assert "github.com/NVIDIA/TensorRT" in how_to_build_plugins()

    def test_is_in_the_error(self, monkeypatch, tmp_path):
        self._install(monkeypatch, tensorrt="8.6.0")
        monkeypatch.setenv("PSSDET_PLUGINS", str(tmp_path / "none.so"))
        with pytest.raises(Exception, match=r"is not a file; make plugin TENSORRT_TAG=v8\.6\.0 builds it"):
            find_plugins()

    @staticmethod
    def _install(monkeypatch, **packages):
        def version(name):
            if name not in packages:
                raise metadata.PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(metadata, "version", version)
