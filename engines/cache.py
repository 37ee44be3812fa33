"""Engines already built, by a key over everything that decides on the result of a build."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pssdet.engines.backend import Backend, BuildOptions
from pssdet.engines.precision.recipe import shipped_recipe
from pssdet.errors import BadInput
from pssdet.files import locked, locked_if_free, sha256_of, staged_folder
from pssdet.models.card import SCHEMA, ModelCard, Precision, encode, read_engine_card
from pssdet.models.preprocess import PICTURE

#: The package ``pssdet``; not resolved, since its folders are links in a checkout.
_ROOT = Path(__file__).parents[1]

#: What does not decide on an engine. Everything else that a build imports counts: a name that is
#: forgotten here costs a needless build, never a wrong engine.
_NOT_DECIDING = (
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
    card: ModelCard,
    backend: Backend[Any],
    precision: Precision,
    options: BuildOptions,
    identity: Mapping[str, str],
) -> str:
    """The key of a build.

    Args:
        card: of the exported model; it holds the ONNX file's sha256.
        identity: of the machine; see ``Backend.identity``.

    Raises:
        BadInput: the calibration folder or the recipe cannot be read.
    """
    given = {
        name: _content(value) if isinstance(value, Path) else value
        for name, value in options.deciding().items()
    }
    return key_of(
        {
            "schema": SCHEMA,
            "model": hashlib.sha256(encode(card)).hexdigest(),
            "backend": backend.name,
            "precision": precision,
            "options": given,
            "recipe": "" if "recipe" in given else _content(shipped_recipe(card.model, precision)),
            "identity": dict(identity),
            "proof": _content(PICTURE),
            "code": code_hash((Path(inspect.getfile(type(backend))), _ROOT / "engines" / "build_engine.py")),
        }
    )


def _content(path: Path | None) -> str | list[tuple[str, str]]:
    """Hash of a file, or names and hashes of a folder's files; empty if there is neither."""
    if path is None or not path.exists():
        return ""
    if path.is_file():
        return sha256_of(path)
    return [(each.name, sha256_of(each)) for each in sorted(path.iterdir()) if each.is_file()]


def code_hash(starts: Iterable[Path], root: Path = _ROOT) -> str:
    """Hash the code of modules, and of what they import of ``pssdet`` that decides on an engine.

    Comments, docstrings and the texts of errors do not count.
    """
    digest = hashlib.sha256()
    trees = _deciding(starts, root)
    for path in sorted(trees):
        digest.update(ast.dump(_Silent().visit(trees[path])).encode() + b"\0")
    return digest.hexdigest()


def _deciding(starts: Iterable[Path], root: Path) -> dict[Path, ast.Module]:
    trees: dict[Path, ast.Module] = {}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in trees:
            trees[path] = ast.parse(path.read_bytes())
            waiting += [file for name in _imported(trees[path]) if (file := _source(name, root)) is not None]
    return trees


def _imported(node: ast.AST) -> Iterator[str]:
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
    """Find the file of a module of ``pssdet`` that decides; None for any other name."""
    package, _, rest = name.partition(".")
    if package != "pssdet" or not rest or any(f"{name}.".startswith(f"{each}.") for each in _NOT_DECIDING):
        return None
    file = root.joinpath(*rest.split(".")).with_suffix(".py")
    return file if file.is_file() else None


class _Silent(ast.NodeTransformer):
    """Removes what code says to people: docstrings, and arguments of raised exceptions."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=kind, cause=None)


_PARTIAL = ".partial"
_LOCK = ".lock"


def key_of(decides: Mapping[str, Any]) -> str:
    """The key of a build: a hash over plain data, independent of its order."""
    content = json.dumps(decides, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


def is_engine_of(key: str, folder: Path) -> bool:
    """Whether a folder holds the engine of that key, whole."""
    return _whole(folder) and read_engine_card(folder).key == key


def cached(
    folder: Path,
    key: str,
    output: Path,
    build: Callable[[Path], None],
    progress: Callable[[str], None] = lambda _: None,
) -> bool:
    """Put the engine of that key into ``output``; ``build`` makes it, once, if the cache has none.

    Of several processes that want one engine, one builds and the others wait. What an interrupted build
    wrote is removed at once, or, if its process was killed, by the next build of anything.

    Returns:
        Whether the engine was in the cache.

    Raises:
        BadInput: a folder cannot be written to.
    """
    entry = folder / key
    try:
        with locked(
            folder / f"{key}{_LOCK}",
            waiting=lambda: progress("waiting for another process, which is building the same engine"),
        ):
            _sweep(folder)
            found = _whole(entry)
            if not found:
                _fill(entry, build)
            # Else two builds into one folder could mix the plan of one and the card of the other.
            with locked(folder / f"output-{key_of({'path': str(output.resolve())})}{_LOCK}"):
                _copy(entry, output)
    except PermissionError as error:
        raise BadInput(
            f"cannot write to {folder} ({error.strerror}); set PSSDET_CACHE to another folder"
        ) from error
    return found


def _fill(entry: Path, build: Callable[[Path], None]) -> None:
    partial = entry.with_name(entry.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a killed build, whose lock is ours now
    partial.mkdir(parents=True)
    try:
        build(partial)
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _whole(entry: Path) -> bool:
    try:
        for file in read_engine_card(entry).beside:
            file.verify(entry)
    except BadInput:
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed builds left; those that still run hold their locks."""
    for partial in folder.glob(f"*{_PARTIAL}"):
        with locked_if_free(folder / f"{partial.name.removesuffix(_PARTIAL)}{_LOCK}") as free:
            if free:
                shutil.rmtree(partial, ignore_errors=True)


def _copy(entry: Path, output: Path) -> None:
    """Link the entry's files, which nobody writes into, or copy them; ``output`` appears whole."""
    with staged_folder(output) as stage:
        for source in sorted(entry.iterdir()):
            try:
                os.link(source, stage / source.name)
            except OSError:
                shutil.copyfile(source, stage / source.name)
