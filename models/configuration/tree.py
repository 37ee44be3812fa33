"""YAML to plain values, read as untrusted input: nothing of the file is ever constructed or run.

Scalars get the types that PyYAML gives them, since that is what PaddleDetection reads with: ``1e-3`` is text
there, and of a key that is given twice the last one counts. Aliases share what they name; what a
file would unfold to is counted, so that no few lines can stand for millions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pssdet.errors import EnvironmentMissing

MAX_DEPTH = 32
#: Values of one file with every alias written out; a whole static configuration has about 300.
MAX_VALUES = 5_000
_MAX_NUMBER = 100

_STANDARD = "tag:yaml.org,2002:"
_MERGE = "<<"


class BadYaml(Exception):
    """The text cannot be used; the message follows the file's name."""


class Tagged(msgspec.Struct, frozen=True):
    """A value with a tag of PaddleDetection's, such as ``!ResizeImage``, which is kept as a name."""

    tag: str
    value: object


def parse(text: str) -> object:
    """The only document of a text: dictionaries with text keys, lists, text, numbers, None and ``Tagged``.

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
        """A scalar by its tag; one that PyYAML would make a date stays text, since no setting is a date."""
        text: str = event.value
        resolved = tag or self._loader.resolve(self._yaml.ScalarNode, text, event.implicit)
        if not resolved.startswith(_STANDARD):
            return text
        kind = resolved.removeprefix(_STANDARD)
        if kind in ("str", "timestamp", "merge", "value"):
            return text
        if kind == "null":
            return None
        make = getattr(self._loader, f"construct_yaml_{kind}", None) if kind in ("bool", "int", "float") else None
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
            raise BadYaml(f"uses the tag !!{tag.removeprefix(_STANDARD)[:60]}, which no configuration needs; remove it")


def _merge_key(value: object, line: int) -> dict[str, object]:
    """What ``<<`` brings in: a mapping, or several of which the first counts."""
    mappings = value if isinstance(value, list) else [value]
    merged: dict[str, object] = {}
    for mapping in reversed(mappings):
        if not isinstance(mapping, dict):
            raise BadYaml(f"merges (<<) something in line {line} that is not a mapping; correct it")
        merged |= mapping
    return merged
