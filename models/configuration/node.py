"""Reading a configuration so that nothing in it is passed over.

The checks of a ``ConfigValue`` note what they cannot accept and go on
with something harmless, so that one error names everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_PLAIN_KEY = re.compile(r"[\w.-]{1,60}", re.ASCII)
_MAX_SHOWN = 80
_MAX_ERRORS = 100

#: A place in the file and the mapping that stands there.
Source = tuple[str, Mapping[str, object]]


class _Missing:
    """Stands for the default of a value that must be given."""


MISSING = _Missing()


class ConfigErrors:
    """What a configuration holds that is not understood, in the order in which it was met."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._nodes: list[ConfigNode] = []

    def add(self, place: str, text: str) -> None:
        """Note an error; the same one counts once."""
        self._found[f"{place} {text}"] = None

    def watch(self, node: ConfigNode) -> None:
        """Have the keys of the node that nobody read noted at the end."""
        self._nodes.append(node)

    def all(self) -> list[str]:
        """Every error, those about keys that nobody read included."""
        for node in self._nodes:
            for place in node.unread():
                self.add(place, "is not understood")
        return self.noted()

    def noted(self) -> list[str]:
        """The errors so far; past a hundred, only how many more there are."""
        errors = list(self._found)
        more = len(errors) - _MAX_ERRORS
        return errors if more <= 0 else [*errors[:_MAX_ERRORS], f"{more} more"]


class ConfigValue:
    """A value with its place in the file."""

    def __init__(self, errors: ConfigErrors, place: str, value: object, *, given: bool) -> None:
        self._errors = errors
        self.place = place
        self.value = value
        self.given = given

    def refuse(self, supported: str) -> None:
        """Note that the value is not supported."""
        if isinstance(self.value, _Missing):
            self._errors.add(self.place, f"is missing (supported: {supported})")
            return
        how = "is" if self.given else "is not given, which means"
        self._errors.add(self.place, f"{how} {repr_yaml(self.value)} (supported: {supported})")

    def only(self, *supported: object) -> None:
        """Accept these values alone."""
        if not any(same(self.value, each) for each in supported):
            self.refuse(" or ".join(repr_yaml(each) for each in supported))

    def integer(self, low: int, high: int, *, step: int = 1) -> int:
        """A whole number, multiple of ``step``."""
        value = self.value
        if isinstance(value, int) and is_number(value, low, high) and value % step == 0:
            return value
        multiple = f", a multiple of {step}" if step > 1 else ""
        self.refuse(f"a whole number from {low} to {high}{multiple}")
        return low

    def number(self, low: float, high: float) -> float:
        """A finite number."""
        if isinstance(self.value, int | float) and is_number(self.value, low, high):
            return float(self.value)
        self.refuse(f"a number from {low:g} to {high:g}")
        return low

    def numbers(self, count: int, low: float, high: float) -> tuple[float, ...]:
        """That many finite numbers; with a count of 0, any number of them up to 16."""
        value = self.value if isinstance(self.value, list) else []
        enough = len(value) == count if count else 1 <= len(value) <= 16
        if enough and all(is_number(each, low, high) for each in value):
            return tuple(float(each) for each in value)
        self.refuse(f"a list of {count or '1 to 16'} numbers from {low:g} to {high:g}")
        return (low,) * max(count, 1)

    def node(self) -> ConfigNode:
        """A mapping."""
        if isinstance(self.value, dict):
            return ConfigNode(self._errors, (self.place, self.value))
        self.refuse("a mapping")
        return empty()

    def boolean(self) -> bool:
        """True or false."""
        if isinstance(self.value, bool):
            return self.value
        self.refuse("true or false")
        return False


class ConfigNode:
    """A mapping of the configuration, whose keys must all be read or ignored by name.

    Of several ``sources`` the first that has a key counts.
    """

    def __init__(self, errors: ConfigErrors, *sources: Source) -> None:
        self.errors = errors
        self._sources = sources
        self._read: set[str] = set()
        errors.watch(self)

    def get(self, key: str, default: object = MISSING) -> ConfigValue:
        """The value of a key; without a default it must be given."""
        self._read.add(key)
        for place, values in self._sources:
            if key in values:
                return ConfigValue(self.errors, _joined(place, key), values[key], given=True)
        return ConfigValue(self.errors, _joined(self._sources[0][0], key), default, given=False)

    def fixed(self, **defaults: object) -> None:
        """Accept these keys with their default alone."""
        for key, default in defaults.items():
            self.get(key, default).only(default)

    def shared(self, key: str, root: ConfigNode, default: object) -> ConfigValue:
        """The value of a key, or where it is not given that of the same key at the top of the file."""
        own, common = self.get(key, None), root.get(key, None)
        if own.value is not None:
            return own
        return common if common.given else ConfigValue(self.errors, own.place, default, given=False)

    def ignore(self, *keys: str) -> None:
        """These keys mean nothing to a detector's results."""
        self._read.update(keys)

    def child(self, key: str) -> ConfigNode:
        """The mapping under a key; an empty one if there is none."""
        return self.get(key, {}).node()

    def unread(self) -> Iterable[str]:
        """Places of the keys that nobody read."""
        for place, values in self._sources:
            for key in values:
                if key not in self._read:
                    yield _joined(place, key)


def component(setting: ConfigValue, root: ConfigNode, supported: str) -> ConfigNode:
    """The node of the class that a value names; of another class than ``supported`` nothing is read."""
    value = setting.value
    if isinstance(value, str) and value == supported:
        return root.child(supported)
    setting.refuse(repr_yaml(supported))
    # The refusal speaks for both nodes.
    root.ignore(supported, *([value] if isinstance(value, str) else []))
    return empty()


def described(setting: ConfigValue, root: ConfigNode, supported: str) -> ConfigNode:
    """The same where the value may also be a mapping with the class's ``name``; its keys count first."""
    if not isinstance(setting.value, dict):
        return component(setting, root, supported)
    sources: list[Source] = [(setting.place, setting.value)]
    common = root.get(supported, {})
    if isinstance(common.value, dict):
        sources.append((supported, common.value))
    else:
        common.refuse("a mapping")
    node = ConfigNode(root.errors, *sources)
    node.get("name").only(supported)
    return node


def empty() -> ConfigNode:
    """An empty node whose errors are dropped, since a larger one was noted."""
    return ConfigNode(ConfigErrors(), ("", {}))


def same(value: object, other: object) -> bool:
    """Equality that tells true from 1 and compares lists item by item."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(same(a, b) for a, b in zip(value, other, strict=True))
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def is_number(value: object, low: float, high: float) -> bool:
    """Whether it is a number within the limits; NaN is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return low <= value <= high


def repr_yaml(value: object) -> str:
    """A value as YAML would have it, short and without control characters."""
    text = json.dumps(value, default=lambda each: str(getattr(each, "tag", "?")))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _joined(place: str, key: str) -> str:
    name = key if _PLAIN_KEY.fullmatch(key) else repr_yaml(key)
    return f"{place}.{name}" if place else name
