"""The key of the engine cache changes with all that decides on an engine, and with no text for people."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pssdet.engines import cache
from pssdet.engines.backends.tensorrt_gpu import TensorRTOptions
from pssdet.engines.cache import build_key, code_hash
from pssdet.engines.precision import recipe as recipes
from pssdet.engines.precision.recipe import Recipe, write_recipe
from pssdet.engines.registry import backend_named
from pssdet.models.card import read_model_card

ROOT = cache._ROOT
CALIBRATION = "engines/precision/calibration.py"
RECIPE = "engines/precision/recipe.py"
STARTS = ("engines/backends/tensorrt_gpu.py", "engines/build_engine.py")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the package's sources."""

    def other_files(folder, names):
        return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]

    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "pssdet", ignore=other_files)


@pytest.fixture
def edit(tree):
    """Change a file of the copy for the length of a test."""
    before = {}

    def change(name, text):
        path = tree / name
        before.setdefault(path, path.read_text())
        path.write_text(text)

    yield change
    for path, text in before.items():
        path.write_text(text)


def hash_of(tree):
    return code_hash([tree / name for name in STARTS], tree)


@pytest.fixture(scope="module")
def original(tree):
    return hash_of(tree)


def another_constant(text):
    """The module with one number or string that is another, or a function of another name."""

    class Changed(ast.NodeTransformer):
        done = False

        def visit_Expr(self, node):
            return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

        def visit_Raise(self, node):
            return node

        def visit_Constant(self, node):
            if self.done or not isinstance(node.value, int | float | str):
                return node
            self.done = True
            return ast.Constant(node.value * 2 or 1)

    changed = Changed()
    result = ast.unparse(changed.visit(ast.parse(text)))
    assert changed.done
    return result


class TestCode:
    def test_a_copy_elsewhere_has_the_same_key(self, original):
        assert original == hash_of(ROOT)

    @pytest.mark.parametrize(
        "name",
        [
            "engines/trt/graph/rewrite.py",
            "engines/trt/graph/plugin_nodes.py",
            "engines/trt/plan/builder.py",
            "engines/trt/plan/inspector.py",
            CALIBRATION,
            RECIPE,
            "engines/precision/quantise.py",
            "engines/backends/tensorrt_gpu.py",
            "engines/onnx_runtime_session.py",
            "models/stages.py",  # limits of the proof
            "models/preprocess.py",
            "images.py",
        ],
    )
    def test_a_changed_constant_makes_another_engine(self, tree, original, edit, name):
        edit(name, another_constant((tree / name).read_text()))
        assert hash_of(tree) != original

    def test_a_limit_of_the_proof(self, tree, original, edit):
        text = (tree / "models/stages.py").read_text()
        assert "maps: float = 1e-4" in text
        edit("models/stages.py", text.replace("maps: float = 1e-4", "maps: float = 2e-4"))
        assert hash_of(tree) != original

    @pytest.mark.parametrize("name", [CALIBRATION, "engines/trt/graph/rewrite.py", "models/stages.py"])
    def test_words_for_people_do_not_count(self, tree, original, edit, name):
        text = (tree / name).read_text()
        edit(name, f"# A comment.\n{text}")
        assert hash_of(tree) == original
        parsed = ast.parse(text)
        for node in ast.walk(parsed):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                node.body[0].value = ast.Constant("Another docstring.")
            elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                node.exc.args = [ast.Constant("another message")]
        edit(name, ast.unparse(parsed))
        assert (tree / name).read_text().count("Another docstring.") > 1
        assert hash_of(tree) == original

    def test_another_kind_of_error_counts(self, tree, original, edit):
        text = (tree / RECIPE).read_text()
        assert "raise BadInput" in text
        edit(RECIPE, text.replace("raise BadInput", "raise ValueError"))
        assert hash_of(tree) != original

    @pytest.mark.parametrize(
        "name",
        [
            "console.py",
            "files.py",
            "engines/registry.py",
            "engines/compatibility.py",
            "engines/trt/runtime/session.py",
            "plugins/bindings/preprocess.py",
            "engines/backends/paddle_reference.py",
            "commands/build.py",
            "runtime/detector.py",
            "validation/compare.py",
        ],
    )
    def test_what_only_runs_or_tells_does_not_count(self, tree, original, edit, name):
        edit(name, (tree / name).read_text() + "\nADDED = 1\n")
        assert hash_of(tree) == original

    def test_imports_are_followed_but_those_for_types(self, tree, edit):
        """A further module that calibration imports from decides from then on, wherever the import stands."""
        text = (tree / CALIBRATION).read_text()

        def counts(added):
            edit(CALIBRATION, text + added)
            keys = set()
            for value in (1, 2):
                (tree / "added.py").write_text(f"VALUE = {value}\n")
                keys.add(hash_of(tree))
            return len(keys) == 2

        assert counts("\nfrom pssdet.added import VALUE\n")
        assert counts("\ndef read() -> None:\n    import pssdet.added\n")
        assert counts("\ndef read() -> None:\n    from pssdet import added\n")
        assert not counts("\nif TYPE_CHECKING:\n    from pssdet.added import VALUE\n")

    def test_what_python_imports_for_a_build_counts(self):
        """Everything that these modules import counts, except what is listed as not deciding."""
        folder = "pssdet.engines"
        modules = ("trt.graph.rewrite", "trt.plan.builder", "trt.plan.capabilities", "precision.quantise")
        program = f"import sys, {', '.join(f'{folder}.{name}' for name in modules)}\nprint(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        imported = {name for name in done.stdout.split() if cache._source(name, ROOT) is not None}
        assert {f"{folder}.{name}" for name in modules} <= imported
        counted = cache._deciding([ROOT / name for name in STARTS], ROOT)
        assert {cache._source(name, ROOT) for name in imported} <= counted.keys()

    def test_what_is_said_not_to_decide_is_there(self):
        for name in cache._NOT_DECIDING:
            path = ROOT.joinpath(*name.split(".")[1:])
            assert path.is_dir() or path.with_suffix(".py").is_file()


class TestContent:
    @pytest.fixture
    def key(self, mini_folder):
        card = read_model_card(mini_folder)

        def of(precision="fp16", identity=None, **options):
            return build_key(
                card, backend_named("tensorrt"), precision, TensorRTOptions(**options), identity or {}
            )

        return of

    def test_the_name_of_a_recipe_does_not_matter_its_content_does(self, key, tmp_path):
        def with_recipe(name, nodes):
            write_recipe(tmp_path / name, Recipe(nodes, "mini_faster", ""))
            return key(recipe=tmp_path / name)

        assert with_recipe("a.json", ()) == with_recipe("b.json", ())
        assert with_recipe("a.json", ("trunk/x",)) != with_recipe("b.json", ())

    def test_the_recipe_that_ships_counts_unless_another_is_given(self, key, tmp_path, monkeypatch):
        monkeypatch.setattr(recipes, "_FOLDER", tmp_path)
        write_recipe(tmp_path / "mine.json", Recipe((), "mini_faster", ""))
        first, mine = key(), key(recipe=tmp_path / "mine.json")
        write_recipe(tmp_path / "mini_faster.json", Recipe(("trunk/x",), "mini_faster", ""))
        assert key() != first
        assert key(recipe=tmp_path / "mine.json") == mine

    def test_calibration_counts_by_its_pictures(self, key, tmp_path):
        def with_pictures():
            return key("int8", calibration=tmp_path)

        first = with_pictures()
        (tmp_path / "a.jpg").write_bytes(b"1")
        second = with_pictures()
        (tmp_path / "a.jpg").write_bytes(b"2")
        assert len({first, second, with_pictures()}) == 3

    def test_the_timing_cache_does_not_count(self, key, tmp_path):
        assert key(timing_cache=tmp_path / "mine.timing") == key()

    def test_the_machine_counts(self, key):
        assert key(identity={"plugins": "1"}) != key(identity={"plugins": "2"})
