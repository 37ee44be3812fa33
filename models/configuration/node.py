"""Reading a configuration so that nothing in it is passed over: what is not understood is noted by its place.

A ``Section`` is a mapping of the file; ``get`` gives one of its settings, and the setting's own checks note what
they cannot accept and go on with something harmless, so that one error can name everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_PLAIN_KEY = re.compile(r"[\w.-]{1,60}", re.ASCII)
_MAX_SHOWN = 80
_MAX_PROBLEMS = 100

Layer = tuple[str, Mapping[str, object]]


class _Missing:
    """Stands for the default of a setting that must be given."""


MISSING = _Missing()


class Problems:
    """What a configuration holds that is not understood, in the order in which it was met."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._sections: list[Section] = []

    def add(self, place: str, text: str) -> None:
        """Note a problem; the same one counts once."""
        self._found[f"{place} {text}"] = None

    def watch(self, section: Section) -> None:
        """Have the section's keys that nobody asked for noted at the end."""
        self._sections.append(section)

    def all(self) -> list[str]:
        """Every problem, those of keys that nobody asked for included."""
        for section in self._sections:
            for place in section.unasked():
                self.add(place, "is not understood")
        return self.noted()

    def noted(self) -> list[str]:
        """The problems so far; past a hundred, only how many more there are."""
        problems = list(self._found)
        more = len(problems) - _MAX_PROBLEMS
        return problems if more <= 0 else [*problems[:_MAX_PROBLEMS], f"{more} more"]


class Setting:
    """A value with its place in the file."""

    def __init__(self, problems: Problems, place: str, value: object, *, given: bool) -> None:
        self._problems = problems
        self.place = place
        self.value = value
        self.given = given

    def refuse(self, supported: str) -> None:
        """Note that the value is not supported."""
        if isinstance(self.value, _Missing):
            self._problems.add(self.place, f"is missing (supported: {supported})")
            return
        how = "is" if self.given else "is not given, which means"
        self._problems.add(self.place, f"{how} {shown(self.value)} (supported: {supported})")

    def only(self, *supported: object) -> None:
        """Accept these values alone."""
        if not any(same(self.value, each) for each in supported):
            self.refuse(" or ".join(shown(each) for each in supported))

    def must_be_true(self) -> None:
        """Accept true alone."""
        self.only(*[True])

    def must_be_false(self) -> None:
        """Accept false alone."""
        self.only(*[False])

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

    def boolean(self) -> bool:
        """True or false."""
        if isinstance(self.value, bool):
            return self.value
        self.refuse("true or false")
        return False


class Section:
    """A mapping of the configuration, whose keys must all be asked for.

    Args:
        problems: where to note what is not understood.
        layers: mappings with their places, of which the first that has a key counts.
    """

    def __init__(self, problems: Problems, *layers: Layer) -> None:
        self.problems = problems
        self._layers = layers
        self._asked: set[str] = set()
        problems.watch(self)

    def get(self, key: str, default: object = MISSING) -> Setting:
        """A setting; without a default it must be given."""
        self._asked.add(key)
        for place, values in self._layers:
            if key in values:
                return Setting(self.problems, _joined(place, key), values[key], given=True)
        return Setting(self.problems, _joined(self._layers[0][0], key), default, given=False)

    def shared(self, key: str, root: Section, default: object) -> Setting:
        """A setting that a key of the same name at the top of the file gives where the section is silent."""
        own, common = self.get(key, None), root.get(key, None)
        if own.value is not None:
            return own
        return common if common.given else Setting(self.problems, own.place, default, given=False)

    def ignore(self, *keys: str) -> None:
        """These keys mean nothing to a detector's results."""
        self._asked.update(keys)

    def section(self, key: str) -> Section:
        """The mapping under a key; an empty one if there is none."""
        setting = self.get(key, {})
        if not isinstance(setting.value, dict):
            setting.refuse("a mapping")
            return nothing()
        return Section(self.problems, (setting.place, setting.value))

    def unasked(self) -> Iterable[str]:
        """Places of the keys that nobody asked for."""
        for place, values in self._layers:
            for key in values:
                if key not in self._asked:
                    yield _joined(place, key)


def component(setting: Setting, root: Section, supported: str) -> Section:
    """The settings of the class that a setting names; of another class than ``supported`` nothing is read."""
    value = setting.value
    if isinstance(value, str) and value == supported:
        return root.section(supported)
    setting.refuse(shown(supported))
    # The refusal speaks for both sections.
    root.ignore(supported, *([value] if isinstance(value, str) else []))
    return nothing()


def described(setting: Setting, root: Section, supported: str) -> Section:
    """The same where the setting may also be a mapping, which says the class by ``name``.

    Its settings go over those of the class's own section.
    """
    if not isinstance(setting.value, dict):
        return component(setting, root, supported)
    layers: list[Layer] = [(setting.place, setting.value)]
    common = root.get(supported, {})
    if isinstance(common.value, dict):
        layers.append((supported, common.value))
    else:
        common.refuse("a mapping")
    section = Section(root.problems, *layers)
    section.get("name").only(supported)
    return section


def nothing() -> Section:
    """An empty section whose problems nobody hears of, since a larger one was noted."""
    return Section(Problems(), ("", {}))


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


def shown(value: object) -> str:
    """A value as YAML would have it, short and without control characters."""
    text = json.dumps(value, default=lambda each: str(getattr(each, "tag", "?")))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _joined(place: str, key: str) -> str:
    name = key if _PLAIN_KEY.fullmatch(key) else shown(key)
    return f"{place}.{name}" if place else name
