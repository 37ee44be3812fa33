"""What decides on the engine that a build gives, as one hash."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pssdet.engines.backend import Backend
from pssdet.engines.cache import key_of
from pssdet.engines.options import BuildOptions
from pssdet.engines.precision.recipe import shipped_recipe
from pssdet.files import sha256_of
from pssdet.models.card import SCHEMA, ModelCard, Precision, encode
from pssdet.models.preprocess import PICTURE

#: The package ``pssdet``; not resolved, since its folders are links in a checkout.
_ROOT = Path(__file__).parents[1]

#: Modules and packages that do not decide on an engine. Everything else that a build imports counts: a name that is
#: forgotten here costs a needless build, never a wrong engine.
_DECIDES_NOT = (
    # They report, store and lock.
    "pssdet.console",
    "pssdet.errors",
    "pssdet.files",
    "pssdet.engines.cache",
    # They open and run a finished engine; which GPU builds is part of the identity.
    "pssdet.engines.compatibility",
    "pssdet.engines.devices",
    "pssdet.engines.trt.runtime",
    "pssdet.plugins.bindings",
)


def build_key(
    card: ModelCard, backend: Backend[Any], precision: Precision, options: BuildOptions, identity: Mapping[str, str]
) -> str:
    """The key of a build.

    Args:
        card: of the exported model; it holds the ONNX file's sha256.
        identity: of the machine; see ``Backend.identity``.

    Raises:
        BadInput: the calibration folder or the recipe cannot be read.
    """
    given = {name: _content(value) if isinstance(value, Path) else value for name, value in options.deciding().items()}
    return key_of(
        {
            "schema": SCHEMA,
            "model": hashlib.sha256(encode(card)).hexdigest(),
            "backend": backend.name,
            "precision": precision,
            "options": given,
            "recipe": "" if "recipe" in given else _content(shipped_recipe(card.model)),
            "identity": dict(identity),
            "proof": _content(PICTURE),
            "code": code_hash((Path(inspect.getfile(type(backend))), _ROOT / "engines" / "build_engine.py")),
        }
    )


def _content(path: Path | None) -> str | list[tuple[str, str]]:
    """Hash of a file, or names and hashes of a folder's files; empty if there is neither, which the build refuses."""
    if path is None or not path.exists():
        return ""
    if path.is_file():
        return sha256_of(path)
    return [(each.name, sha256_of(each)) for each in sorted(path.iterdir()) if each.is_file()]


def code_hash(starts: Iterable[Path], root: Path = _ROOT) -> str:
    """Hash the code of modules, and of those modules of ``pssdet`` that they import and that decide on an engine.

    Comments, docstrings and the texts of errors do not count.

    Args:
        starts: files of the modules.
        root: folder of the package ``pssdet``.
    """
    digest = hashlib.sha256()
    trees = _deciding(starts, root)
    for path in sorted(trees):
        digest.update(ast.dump(_Silent().visit(trees[path])).encode() + b"\0")
    return digest.hexdigest()


def _deciding(starts: Iterable[Path], root: Path) -> dict[Path, ast.Module]:
    """Parse the modules that ``code_hash`` is about, by file."""
    trees: dict[Path, ast.Module] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in trees:
            trees[path] = ast.parse(path.read_bytes())
            waiting += [file for name in _imported(trees[path]) if (file := _source(name, root)) is not None]
    return trees


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield the names of modules that code imports, at its top or in functions, and of what it takes from them."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{each.name}" for each in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def _source(name: str, root: Path) -> Path | None:
    """Find the file of a module of ``pssdet`` that decides; None for other modules and for names of no module."""
    package, _, rest = name.partition(".")
    if package != "pssdet" or not rest or any(f"{name}.".startswith(f"{each}.") for each in _DECIDES_NOT):
        return None
    file = root.joinpath(*rest.split(".")).with_suffix(".py")
    return file if file.is_file() else None


class _Silent(ast.NodeTransformer):
    """Removes what code says to people: docstrings, and the arguments of exceptions that it raises."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)
