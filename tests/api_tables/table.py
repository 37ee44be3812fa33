"""The committed tables of names and signatures, and whether a call fits one; ``extract.py`` writes them.

A table is JSON: its versions, and for each name what it is in each run of versions, ``first..last``. That is a
list of signatures, one for each overload, or ``value``, ``class``, ``read``, ``write`` or ``read write``.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).resolve().parents[1] / "data" / "api"
TENSORRT = DATA / "tensorrt.json"
CUDA = DATA / "cuda_bindings.json"


class Parameter(NamedTuple):
    name: str
    optional: bool
    positional_only: bool


@dataclass(frozen=True)
class Call:
    """Arguments of a call: how many without a keyword, and the keywords.

    Attributes:
        open: there are more, by ``*`` or ``**``.
        variables: names of the variables or attributes that are passed without a keyword; empty for others.
    """

    positional: int = 0
    keywords: tuple = ()
    open: bool = False
    variables: tuple = ()

    def fits(self, signature):
        """Whether a function of this signature takes it; one of unknown parameters takes no arguments here.

        A variable that has the name of another parameter than the one it is passed for is in the wrong place.
        """
        if signature == "(?)":
            return not (self.positional or self.keywords or self.open)
        taken = parameters(signature)
        by_keyword = {each.name for each in taken[self.positional :] if not each.positional_only}
        if self.positional > len(taken) or not by_keyword.issuperset(self.keywords):
            return False
        names = [each.name for each in taken]
        if any(name in names and name != names[place] for place, name in enumerate(self.variables)):
            return False
        lacking = [
            each for each in taken[self.positional :] if not each.optional and each.name not in self.keywords
        ]
        return self.open or not lacking

    def __str__(self):
        """Without the variables' names."""
        return f"({', '.join([*('_' * self.positional), *(f'{name}=' for name in self.keywords)])})"

    def shown(self):
        """With the variables' names."""
        passed = [name or "_" for name in self.variables] or ["_"] * self.positional
        return f"({', '.join([*passed, *(f'{name}=' for name in self.keywords)])})"


def parameters(signature):
    """The parameters of a signature such as ``(name, other=)`` or ``(arg0, /)``."""
    listed = [each.strip() for each in signature.strip("()").split(",") if each.strip()]
    only = listed.index("/") if "/" in listed else 0
    names = [each for each in listed if each != "/"]
    return [Parameter(each.rstrip("="), each.endswith("="), place < only) for place, each in enumerate(names)]


class Table:
    """A table, by name and version."""

    def __init__(self, content):
        self.versions = tuple(content["versions"])
        places = {version: place for place, version in enumerate(self.versions)}
        self.names = {}
        for name, runs in content["names"].items():
            known = self.names[name] = {}
            for run, what in runs.items():
                first, _, last = run.partition("..")
                for version in self.versions[places[first] : places[last or first] + 1]:
                    known[version] = what

    @classmethod
    def load(cls, path):
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def nearest(self, version):
        """The last version that is not newer than this one, which may have more numbers or be unknown."""
        return max((each for each in self.versions if _numbers(each) <= _numbers(version)[:3]), key=_numbers)

    def versions_with(self, name):
        """The versions that have a name, in their order."""
        return tuple(version for version in self.versions if version in self.names.get(name, {}))

    def get(self, name, version):
        """What the name is in that version; None if it is not there."""
        return self.names.get(name, {}).get(version)


def present(module, name):
    """Whether a real package has a name of the table."""
    value = module
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def _numbers(version):
    return tuple(int(each) for each in re.findall(r"\d+", version))


def as_text(found):
    """The content of a table's file, a name a line: ``found`` has what each name is, by version and name."""
    versions = list(found)
    lines = []
    for name in sorted({name for names in found.values() for name in names}):
        runs = []
        for place, version in enumerate(versions):
            what = found[version].get(name)
            if what is None:
                continue
            if runs and runs[-1][1] == place - 1 and runs[-1][2] == what:
                runs[-1][1] = place
            else:
                runs.append([place, place, what])
        ended = {
            versions[first] if first == last else f"{versions[first]}..{versions[last]}": what
            for first, last, what in runs
        }
        lines.append(f"{json.dumps(name)}: {json.dumps(ended)}")
    names = ",\n".join(lines)
    return f'{{\n"versions": {json.dumps(versions)},\n"names": {{\n{names}\n}}\n}}\n'
