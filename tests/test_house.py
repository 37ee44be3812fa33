"""Rules of the source tree: the import contracts and their exceptions, names of modules, sizes of files."""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parent.parent
#: Scripts that users call, each a few lines over ``pssdet.commands``.
ENTRY_SCRIPTS = (
    "engines/build.py",
    "export/to_onnx.py",
    "models/list_zoo.py",
    "plugins/tools/compile_check.py",
    "runtime/detect.py",
    "validation/render_scenes.py",
    "validation/report.py",
    "validation/stage_parity.py",
    "validation/top1.py",
)
#: Folders whose files are run as scripts: Python puts the script's folder first on ``sys.path``.
SCRIPT_FOLDERS = (
    "benchmarks",
    "benchmarks/gpu",
    "engines",
    "export",
    "models",
    "plugins/tools",
    "runtime",
    "training",
    "validation",
)
#: PyPA's ``build`` is run by its name, no program here imports it.
NEVER_IMPORTED = {"build"}
FOLDERS = ("models", "export", "engines", "runtime", "validation", "training", "plugins")
SOURCES = {".py", ".h", ".cuh", ".cpp", ".cu"}
MOST_LINES = 400
FEW_LINES = 60
MOST_SMALL_FILES = 22


def source_files(suffixes):
    """Each file once: the links under src/ are not followed."""
    tops = (ROOT / top for top in ("benchmarks", "src", "tests", *FOLDERS))
    return sorted(path for top in tops for path in top.rglob("*") if path.suffix in suffixes and path.is_file())


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def module_of(script):
    return "pssdet." + script.removesuffix(".py").replace("/", ".")


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory):
    """The package, with its folders in place of the links to them, and the benchmarks."""
    pytest.importorskip("importlinter", reason="make venv installs import-linter")
    tree = tmp_path_factory.mktemp("tree")
    only_python = shutil.ignore_patterns(
        "__pycache__", "checkpoints", "assets", "*.cpp", "*.cu", "*.cuh", "*.h"
    )
    shutil.copytree(ROOT / "src", tree / "src", ignore=only_python)
    shutil.copytree(ROOT / "benchmarks", tree / "benchmarks", ignore=only_python)
    (tree / "benchmarks" / "planted.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


class TestImports:
    @pytest.mark.parametrize(
        ("name", "planted", "imported"),
        [
            ("models/zoo", "import pssdet.engines.registry\n", "pssdet.engines.registry"),
            ("runtime/results", "def f():\n    from pssdet.export import pipeline\n", "pssdet.export.pipeline"),
            (
                "files",
                (
                    "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
                    "    from pssdet.models.card import ModelCard\n"
                ),
                "pssdet.models.card",
            ),
            ("training/run", "from benchmarks import planted\n", "benchmarks.planted"),
            ("runtime/detections", "from pssdet.runtime.detector import Detector\n", None),
        ],
        ids=["of_a_module", "in_a_function", "for_types", "of_the_benchmarks", "in_a_circle"],
    )
    def test_an_import_that_is_not_allowed_is_found(self, copied_tree, name, planted, imported):
        module = copied_tree / "src" / "pssdet" / f"{name}.py"
        content = module.read_text()
        module.write_text(content + "\n" + planted)
        try:
            code, said = self._lint(copied_tree)
        finally:
            module.write_text(content)
        assert code == 1
        if imported:
            assert f"pssdet.{name.replace('/', '.')} -> {imported}" in said
        else:
            assert "No cycles are allowed in pssdet.runtime" in said

    @staticmethod
    def _lint(tree):
        """The exit code of import-linter in ``tree``, and what it says, its lines joined."""
        search = [str(tree / "src"), str(tree), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from importlinter.cli import lint_imports_command as lint; lint()",
                "--no-cache",
            ],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(search), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def test_only_the_entry_scripts_and_a_tool_may_import_upward(self):
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
        ignored = [each for contract in settings["contracts"] for each in contract.get("ignore_imports", ())]
        assert ignored == [f"{module_of(each)} -> pssdet.commands.*" for each in ENTRY_SCRIPTS]

    @pytest.mark.parametrize("script", ENTRY_SCRIPTS)
    def test_an_entry_script_is_short(self, script):
        assert lines_of(ROOT / script) <= 25

    def test_nothing_imports_a_script(self):
        grimp = pytest.importorskip("grimp", reason="make venv installs import-linter")
        graph = grimp.build_graph("pssdet", cache_dir=None)
        scripts = [module_of(each) for each in ENTRY_SCRIPTS]
        importers = {importer for each in scripts for importer in graph.find_modules_that_directly_import(each)}
        assert importers == set()


class TestNames:
    @pytest.mark.parametrize("folder", SCRIPT_FOLDERS)
    def test_a_module_beside_a_script_hides_nothing_that_is_imported(self, folder):
        names = {
            path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
        }
        imported = (
            sys.stdlib_module_names | metadata.packages_distributions().keys() | _imported_outside(folder)
        )
        assert names & (imported - NEVER_IMPORTED) == set()

    @pytest.mark.parametrize("script", ENTRY_SCRIPTS)
    def test_no_package_has_the_name_of_a_script(self, script):
        assert not (ROOT / script).with_suffix("").exists()


def _imported_outside(folder):
    """The first parts of all names that the files of other folders import."""
    return {name for path, names in _imports().items() if path.parent != ROOT / folder for name in names}


@cache
def _imports():
    found = {}
    for path in source_files({".py"}):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [
            node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
        ]
        found[path] = {name.partition(".")[0] for name in names}
    return found


def test_no_source_file_is_long():
    sources = source_files(SOURCES)
    assert len(sources) > 300
    assert {str(path.relative_to(ROOT)) for path in sources if lines_of(path) > MOST_LINES} == set()


def test_few_modules_are_small():
    """Many small files make a reader jump: what has one user belongs to that user's file."""
    apart = re.compile(r"tests/|(.*/)?__init__\.py$")
    names = [str(path.relative_to(ROOT)) for path in source_files({".py"})]
    modules = [name for name in names if not apart.match(name) and name not in ENTRY_SCRIPTS]
    small = [name for name in modules if lines_of(ROOT / name) < FEW_LINES]
    assert len(small) <= MOST_SMALL_FILES, small
