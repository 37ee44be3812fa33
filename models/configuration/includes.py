"""The files of one configuration, merged as PaddleDetection merges them.

A dygraph configuration names its bases in ``_BASE_``, a static one its readers in ``_READER_``; both are
found from the folder of the file that names them. Mappings merge key by key, the including file over the
included and a later base over an earlier one; anything else, tagged mappings too, is replaced whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pssdet.errors import BadInput
from pssdet.models.configuration.tree import BadYaml, parse

BASE = "_BASE_"
READER = "_READER_"

MAX_BASES_DEEP = 8
MAX_FILES = 32
#: Of all files together; those of a published detector have 6 KiB.
MAX_BYTES = 128 << 10

Values = dict[str, object]


class Loaded(NamedTuple):
    """A merged configuration.

    Attributes:
        values: everything but the includes.
        has_bases: whether ``_BASE_`` was used, which the static program does not know.
    """

    values: Values
    has_bases: bool


def load(path: Path) -> Loaded:
    """A configuration with what it includes.

    Raises:
        BadInput: a file is missing, damaged, hostile, or includes itself.
        EnvironmentMissing: PyYAML is not installed.
    """
    files = _Files()
    values = files.read(path)
    if BASE in values:
        return Loaded(_with_bases(files, path, values, (path.resolve(),)), has_bases=True)
    if READER in values:
        (reader,) = _named(path, READER, values.pop(READER))
        values = merge(files.read(_beside(path, reader), f"{READER} of {path}"), values)
    return Loaded(values, has_bases=False)


def merge(below: Values, above: Values) -> Values:
    """Both, where ``above`` counts; neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        present = merged.get(key)
        merged[key] = merge(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return merged


def _with_bases(files: _Files, path: Path, values: Values, stack: tuple[Path, ...]) -> Values:
    bases = _named(path, BASE, values.pop(BASE)) if BASE in values else []
    merged: Values = {}
    for name in bases:
        base = _beside(path, name)
        resolved = base.resolve()
        if resolved in stack:
            circle = " -> ".join(each.name for each in (*stack[stack.index(resolved) :], resolved))
            raise BadInput(f"{path} includes itself by {BASE} ({circle}); remove one of these entries")
        if len(stack) > MAX_BASES_DEEP:
            raise BadInput(f"{path}: {BASE} goes more than {MAX_BASES_DEEP} files deep; name the files directly")
        content = files.read(base, f"{BASE} of {path}")
        merged = merge(merged, _with_bases(files, base, content, (*stack, resolved)))
    return merge(merged, values)


def _named(path: Path, key: str, value: object) -> list[str]:
    """The files that an include names: a list, or one; ``_READER_`` is always one."""
    names = value if isinstance(value, list) and key == BASE else [value]
    texts = [name for name in names if isinstance(name, str) and name and "\0" not in name]
    if len(texts) < len(names):
        raise BadInput(f"{path}: {key} must name files, as text; correct it")
    return texts


def _beside(path: Path, name: str) -> Path:
    try:
        return path.parent / Path(name).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{path} names {name}, whose home folder is not known; write the whole path") from error


class _Files:
    """Reads files as long as they are few and small together."""

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0

    def read(self, path: Path, named_by: str = "") -> Values:
        """The mapping that a file holds."""
        named = f", which {named_by} names" if named_by else ""
        try:
            text = self._text(path)
            values = parse(text)
        except BadYaml as error:
            raise BadInput(f"{path}{named} {error}") from error
        except FileNotFoundError as error:
            raise BadInput(f"{path}{named} does not exist; check the path of the configuration") from error
        except OSError as error:
            raise BadInput(f"{path}{named} cannot be read ({error.strerror}); check its permissions") from error
        if not isinstance(values, Mapping):
            raise BadInput(f"{path}{named} is not a configuration: it holds no keys; name a PaddleDetection YAML file")
        return dict(values)

    def _text(self, path: Path) -> str:
        if path.exists() and not path.is_file():
            raise BadYaml("is not a regular file; name a PaddleDetection YAML file")
        self._count += 1
        if self._count > MAX_FILES:
            raise BadYaml(f"is one file too many: a configuration may have {MAX_FILES}")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES - self._bytes + 1)
        self._bytes += len(content)
        if self._bytes > MAX_BYTES:
            raise BadYaml(f"is too large for a configuration, whose files may have {MAX_BYTES >> 10} KiB together")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadYaml("is not UTF-8 text; save it as UTF-8") from error
