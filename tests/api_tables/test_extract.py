"""The program that writes the tables, on a repository of a few lines with the tags of three versions."""

import json
import subprocess

import pytest
from api_tables import extract
from api_tables.table import Table

from pssdet.errors import BadInput

FILES = {
    "python/docstrings/infer/pyCoreDoc.h": "namespace BuilderDoc {}",
    "python/packaging/tensorrt/__init__.py": 'from .tensorrt import *\n\n__version__ = "##VERSION##"\n',
}
SOURCE = (
    'void bind(py::module& m) { py::class_<IBuilder>(m, "Builder").def("reset", &IBuilder::reset, "%s"_a); }'
)


@pytest.fixture
def checkout(tmp_path):
    """Tag, VERSION and the name of a parameter; the second tag has the sources of the first again."""
    git("init", "-q", folder=tmp_path)
    for tag, version, parameter in (
        ("8.5.3", "8.5.3.1", "older"),
        ("v8.6.0", "8.6.0.12", "old"),
        ("v9.2.0", "8.6.0.12", "wrong"),
        ("v10.0", "10.0.1.6", "new"),
        ("notes", "12.0.0", "none"),
    ):
        for name, text in {
            **FILES,
            "VERSION": version,
            "python/src/infer/pyCore.cpp": SOURCE % parameter,
        }.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        git("add", "-A", folder=tmp_path)
        git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", tag, folder=tmp_path)
        git("tag", tag, folder=tmp_path)
    return tmp_path


def git(*arguments, folder):
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_a_table_of_all_tags(checkout):
    text = extract.tensorrt_table(str(checkout), {"Builder", "Builder.reset", "Builder.none", "__version__"})
    assert json.loads(text) == {
        "versions": ["8.6.0", "10.0.1"],
        "names": {
            "Builder": {"8.6.0..10.0.1": "class"},
            "Builder.reset": {"8.6.0": ["(old)"], "10.0.1": ["(new)"]},
            "__version__": {"8.6.0..10.0.1": "value"},
        },
    }
    table = Table(json.loads(text))
    assert [table.nearest(each) for each in ("8.6.0", "8.6.1.post1", "10.0.1", "11.4.0.5")] == [
        "8.6.0",
        "8.6.0",
        "10.0.1",
        "10.0.1",
    ]


def test_a_checkout_without_tags(checkout):
    git("tag", "-d", "v8.6.0", folder=checkout)
    with pytest.raises(BadInput, match=r"lacks the tags from v8\.6\.0 on"):
        extract.tensorrt_table(str(checkout), set())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "usage: "),
        (("cuda",), "usage: "),
        (("cuda", "/nowhere"), "there is no cuda-bindings in /nowhere"),
        (("tensorrt", "/nowhere"), "git tag in /nowhere: "),
    ],
)
def test_bad_arguments(arguments, complaint):
    with pytest.raises(BadInput, match=complaint):
        extract.main(*arguments)


@pytest.mark.parametrize(
    ("described", "taken"),
    [
        ("cudaGetDevice()", "()"),
        ("cudaMalloc(size_t size)", "(size)"),
        ("cudaGraphInstantiate(graph, unsigned long long flags)", "(graph, flags)"),
        ("cudaStreamBeginCapture(stream, mode: cudaStreamCaptureMode)", "(stream, mode)"),
        ("cudaMemcpy(dst, src, kind not None : cudaMemcpyKind, int device=0)", "(dst, src, kind, device=)"),
    ],
)
def test_signatures_of_cuda_bindings(described, taken):
    assert extract.signature(described) == taken
