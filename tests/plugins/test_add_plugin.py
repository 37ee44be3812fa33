"""The plugin of docs/how-to/add-a-plugin.md, from the kernel to the rewrite, without CMake or TensorRT."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pages import HOW_TO, blocks, module_of

from pssdet.engines.trt.graph import plugin_nodes, plugins
from pssdet.plugins.tools import kernels

SOURCES = Path(__file__).resolve().parents[2] / "plugins"
PAGE = "add-a-plugin.md"
FILES = ("scale/scale.h", "scale/scale.cuh", "scale/scale.cu", "tensorrt/operators/scale.cpp")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of plugins/ with the page's C++."""
    tree = tmp_path_factory.mktemp("tree") / "plugins"
    shutil.copytree(SOURCES, tree, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.so"))
    (tree / "scale").mkdir()
    *contents, declarations, _ = blocks(PAGE, "cpp")
    for name, content in zip(FILES, contents, strict=True):
        (tree / name).write_text(content)
    header = tree / "tensorrt" / "common" / "operator.h"
    before, _, after = header.read_text().partition("constexpr const Description& (*kOperators[])()")
    header.write_text(f"{before}{declarations}{after.partition(';')[2]}")
    return tree


@pytest.fixture(scope="module")
def compile_cpp():
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler")

    def run(*arguments, folder):
        subprocess.run(
            [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", *arguments], cwd=folder, check=True
        )

    return run


@pytest.fixture(scope="module")
def library(tree, compile_cpp):
    (emulated,) = tree.rglob("emulated.cpp")
    options = ["-shared", "-fPIC", "-O1", "-ffp-contract=off", "-x", "c++"]
    compile_cpp(*options, "scale/scale.cu", str(emulated), "-o", "scale.so", folder=tree)
    return tree / "scale.so"


@pytest.fixture
def page_test(tmp_path, monkeypatch):
    """The page's test, in a project that has its binding and its row of the table."""
    binding, _, row, test = blocks(PAGE, "python")
    module_of(binding, "scale", tmp_path, monkeypatch)
    monkeypatch.setitem(plugins.PLUGINS, "PssDetScale", eval(row.removeprefix("SCALE = "), vars(plugins)))
    monkeypatch.setitem(plugin_nodes._PLUGIN_OF, "Scale", plugins.PLUGINS["PssDetScale"])
    return module_of(test.replace("pssdet.plugins.bindings.scale", "scale"), "page_test", tmp_path, monkeypatch)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", np.float32), ("half", np.float16)])
def test_the_emulated_kernel(page_test, library, dtype, kind):
    page_test.test_each_value_is_multiplied(lambda _: library, dtype, kind)


def test_what_the_kernel_refuses(page_test, library):
    page_test.test_what_cannot_be_computed_is_refused(lambda _: library)


def test_the_rewrite(page_test):
    page_test.test_the_function_becomes_the_plugin()


def test_the_operator(tree, compile_cpp):
    """The page's C++ test, behind the head of the file that it belongs to."""
    source = (tree / "tests" / "test_plugin_detection.cpp").read_text()
    (head,) = re.findall(r"\A.*?^using Sizes = .*?$", source, re.DOTALL | re.MULTILINE)
    test = f"{head}\n{blocks(PAGE, 'cpp')[-1]}}}\nint main() {{ scale_operator(); return summary(); }}\n"
    (tree / "tests" / "test_scale.cpp").write_text(test)
    parts = [f"tensorrt/{name}.cpp" for name in ("common/attributes", "common/operator", "operators/scale")]
    # Optimised, the list of all plugins is not in the program, which has this one only.
    compile_cpp(
        "-O1", "tests/test_scale.cpp", *parts, "-x", "c++", "scale/scale.cu", "-o", "test_scale", folder=tree
    )
    subprocess.run([tree / "test_scale"], check=True)


def test_the_list_has_the_old_plugins_and_the_new_one():
    header = (SOURCES / "tensorrt" / "common" / "operator.h").read_text()
    (table,) = re.findall(r"^constexpr const Description& [^;]*;$", header, re.MULTILINE)
    assert blocks(PAGE, "cpp")[-2].endswith(f"\n{table.replace('}', ', scale}')}\n")


def test_the_compile_check_finds_the_kernel(tree, monkeypatch):
    monkeypatch.setattr(kernels, "_PLUGINS", tree)
    known = dict(vars(kernels))
    exec(blocks(PAGE, "python")[1], known)
    program = known["_scale"]()
    assert program.headers == (tree / "scale" / "scale.cuh",)
    assert len(program.kernels) == 2


def test_it_costs_nine_files():
    lines = (HOW_TO / PAGE).read_text().splitlines()
    assert sum(line.startswith("| `") for line in lines) == 9
