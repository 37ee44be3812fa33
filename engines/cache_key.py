"""What decides on the engine that a build gives, as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pssdet.engines.cache import key_of
from pssdet.engines.options import BuildOptions
from pssdet.engines.precision.recipe import shipped_recipe
from pssdet.files import sha256_of
from pssdet.models.card import SCHEMA, ModelCard, Precision, encode

#: Options that do not decide on what an engine computes, or whose content is hashed instead of their name.
_BY_CONTENT = ("recipe", "calibration", "timing_cache")


def build_key(
    card: ModelCard, backend: str, precision: Precision, options: BuildOptions, identity: Mapping[str, str]
) -> str:
    """The key of a build.

    Args:
        card: of the exported model; it holds the ONNX file's sha256.
        identity: of the machine; see ``Backend.identity``.

    Raises:
        BadInput: the calibration folder or the recipe cannot be read.
    """
    plain = {name: getattr(options, name) for name in options.given() if name not in _BY_CONTENT}
    recipe = options.recipe or shipped_recipe(card.model)
    return key_of(
        {
            "schema": SCHEMA,
            "model": hashlib.sha256(encode(card)).hexdigest(),
            "backend": backend,
            "precision": precision,
            "options": plain,
            "recipe": sha256_of(recipe) if recipe is not None and recipe.is_file() else "",
            "calibration": _content(options.calibration) if options.calibration else "",
            "identity": dict(identity),
            "code": _code(),
        }
    )


def _content(folder: Path) -> list[tuple[str, str]]:
    """Name and hash of each file of a folder; a folder that is none has none, which the build will refuse."""
    return [(path.name, sha256_of(path)) for path in sorted(folder.glob("*")) if path.is_file()]


def _code() -> str:
    """A hash over the sources that make engines: another version of them may make another one."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
