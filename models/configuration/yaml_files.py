"""The YAML files of one configuration, read as untrusted input and merged as PaddleDetection merges them.

Nothing is constructed or run. As in PyYAML, ``1e-3`` is text, and the last of equal keys
counts. What aliases unfold to is counted, so that a few lines cannot expand to millions.

A dygraph file names its bases in ``_BASE_``, a static one its readers in ``_READER_``, from its own
folder. Mappings merge key by key: the including file wins, and a later base; all else is replaced whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pssdet.errors import BadInput, EnvironmentMissing

BASE = "_BASE_"
READER = "_READER_"

MAX_BASES_DEEP = 8
MAX_FILES = 32
#: Of all files together; those of a published detector have 6 KiB.
MAX_BYTES = 128 << 10
MAX_DEPTH = 32
#: Values of one file with every alias written out; a whole static configuration has about 300.
MAX_VALUES = 5_000
_MAX_NUMBER = 100

_STANDARD = "tag:yaml.org,2002:"
_MERGE = "<<"

Values = dict[str, object]


class Loaded(NamedTuple):
    """A merged configuration without its includes; the static program does not know ``_BASE_``."""

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
            raise BadInput(
                f"{path}: {BASE} goes more than {MAX_BASES_DEEP} files deep; name the files directly"
            )
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
            raise BadInput(
                f"{path}{named} is not a configuration: it holds no keys; name a PaddleDetection YAML file"
            )
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
            raise BadYaml(
                f"is too large for a configuration, whose files may have {MAX_BYTES >> 10} KiB together"
            )
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadYaml("is not UTF-8 text; save it as UTF-8") from error


class BadYaml(Exception):
    """The text cannot be used; the message follows the file's name."""


class Tagged(msgspec.Struct, frozen=True):
    """A value with a tag of PaddleDetection's, such as ``!ResizeImage``."""

    tag: str
    value: object


def parse(text: str) -> object:
    """The only document of a text: dictionaries, lists, text, numbers, None and ``Tagged``.

    Raises:
        BadYaml: it is not YAML, or is hostile.
        EnvironmentMissing: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise EnvironmentMissing(
            "reading a configuration needs PyYAML; install this project again with its extra [export]"
        ) from error
    try:
        return _Builder(yaml, text).document()
    except yaml.reader.ReaderError as error:
        raise BadYaml("holds characters that YAML does not allow; save it as plain UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadYaml(f"is not YAML{line} ({error.problem or error.context}); correct it") from error


class _Builder:
    """Values from PyYAML's events, whose parser itself neither recurses nor expands aliases."""

    def __init__(self, yaml: Any, text: str) -> None:
        self._yaml = yaml
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, tuple[object, int]] = {}
        self._values = 0

    def document(self) -> object:
        self._loader.get_event()  # the stream begins
        if self._loader.check_event(self._yaml.StreamEndEvent):
            raise BadYaml("is empty; name a configuration")
        self._loader.get_event()  # the document begins
        value = self._value(0)
        self._loader.get_event()  # the document ends
        if not self._loader.check_event(self._yaml.StreamEndEvent):
            raise BadYaml("holds more than one document; keep one")
        return value

    def _value(self, depth: int) -> object:
        if depth >= MAX_DEPTH:
            raise BadYaml(f"is nested more than {MAX_DEPTH} levels deep; no configuration is")
        event, before = self._loader.get_event(), self._values
        if isinstance(event, self._yaml.AliasEvent):
            return self._alias(event.anchor)
        self._count(1)
        tag = event.tag if event.tag not in (None, "!") else None
        if isinstance(event, self._yaml.ScalarEvent):
            value = self._scalar(event, tag)
        elif isinstance(event, self._yaml.SequenceStartEvent):
            value = self._list(depth)
            self._require_kind(tag, "seq")
        else:
            value = self._mapping(depth)
            self._require_kind(tag, "map")
        if tag is not None and not tag.startswith(_STANDARD):
            value = Tagged(tag, value)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _alias(self, anchor: str) -> object:
        if anchor not in self._anchors:
            raise BadYaml(f"uses *{anchor[:40]} where it is not defined yet; define it before")
        value, size = self._anchors[anchor]
        self._count(size)
        return value

    def _count(self, size: int) -> None:
        self._values += size
        if self._values > MAX_VALUES:
            raise BadYaml(f"unfolds to more than {MAX_VALUES} values; no configuration does")

    def _list(self, depth: int) -> list[object]:
        items = []
        while not self._loader.check_event(self._yaml.SequenceEndEvent):
            items.append(self._value(depth + 1))
        self._loader.get_event()
        return items

    def _mapping(self, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: dict[str, object] = {}
        while not self._loader.check_event(self._yaml.MappingEndEvent):
            line = self._loader.peek_event().start_mark.line + 1
            key, value = self._value(depth + 1), self._value(depth + 1)
            if key == _MERGE:
                merged = _merge_key(value, line) | merged
            elif isinstance(key, str):
                values[key] = value
            else:
                raise BadYaml(f"has a key in line {line} that is not text; quote it")
        self._loader.get_event()
        return merged | values

    def _scalar(self, event: Any, tag: str | None) -> object:
        """A scalar by its tag; a date stays text, since no setting is one."""
        text: str = event.value
        resolved = tag or self._loader.resolve(self._yaml.ScalarNode, text, event.implicit)
        if not resolved.startswith(_STANDARD):
            return text
        kind = resolved.removeprefix(_STANDARD)
        if kind in ("str", "timestamp", "merge", "value"):
            return text
        if kind == "null":
            return None
        make = (
            getattr(self._loader, f"construct_yaml_{kind}", None) if kind in ("bool", "int", "float") else None
        )
        if make is None:
            self._require_kind(resolved, "a plain value")
        try:
            if len(text) <= _MAX_NUMBER and make is not None:
                value: object = make(self._yaml.ScalarNode(resolved, text))
                return value
        except (ValueError, LookupError):
            pass
        raise BadYaml(f"says {text[:40]!r} in line {event.start_mark.line + 1}, which is no {kind}; correct it")

    def _require_kind(self, tag: str | None, kind: str) -> None:
        if tag is not None and tag.startswith(_STANDARD) and tag != f"{_STANDARD}{kind}":
            raise BadYaml(
                f"uses the tag !!{tag.removeprefix(_STANDARD)[:60]}, which no configuration needs; remove it"
            )


def _merge_key(value: object, line: int) -> dict[str, object]:
    """What ``<<`` brings in: a mapping, or several of which the first counts."""
    mappings = value if isinstance(value, list) else [value]
    merged: dict[str, object] = {}
    for mapping in reversed(mappings):
        if not isinstance(mapping, dict):
            raise BadYaml(f"merges (<<) something in line {line} that is not a mapping; correct it")
        merged |= mapping
    return merged
