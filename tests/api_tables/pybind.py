"""What pybind11 code gives to Python: as much of C++ as the sources of TensorRT's Python package need.

A signature is written as in Python: ``(name, other=)``; ``(arg0, /)`` where the code names no parameters, which
makes them positional-only; ``(?)`` where it does not even say how many there are.
"""

import re
from dataclasses import dataclass, field

UNKNOWN = "(?)"
#: What the package ``tensorrt`` is built with, but not the lean runtime. Other switches are taken to be off.
_DEFINED = {"EXPORT_ALL_BINDINGS"}
_TOKEN = re.compile(r"""\s+|//[^\n]*|/\*.*?\*/|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\w+|::|->|.)""", re.DOTALL)
_DOCUMENT = re.compile(
    r'namespace (\w+Doc)\b|constexpr (?:const char|char const)\s*\*\s*(\w+)\s*=\s*R"trtdoc\((.*?)\)trtdoc"',
    re.DOTALL,
)
_OPEN = {"(": ")", "[": "]", "{": "}"}
_PROPERTIES = {
    "def_property_readonly": "read",
    "def_property_readonly_static": "read",
    "def_readonly": "read",
    "def_readwrite": "read write",
}


@dataclass
class Owner:
    """A class, an enumeration or the module; a member is a list of signatures, or what its value allows."""

    bases: tuple = ()
    members: dict = field(default_factory=dict)
    around: "Owner | None" = None

    def add(self, name, signature):
        listed = self.members.setdefault(name, [])
        if isinstance(listed, list) and signature not in listed:
            listed.append(signature)


class Api:
    """The names of one version, from ``read`` of all its sources."""

    def __init__(self):
        self._module = Owner()
        self._classes = {}
        self._types = {}

    def lookup(self, name):
        """What ``name`` or ``Class.name`` is: signatures, or ``value``, ``read``, ``class``; None if none."""
        owner, _, member = name.rpartition(".")
        if owner:
            return self._member(self._classes.get(owner), member)
        if name in self._classes:
            return self._classes[name].members.get("__init__", "class")
        return self._module.members.get(name)

    def _member(self, owner, name):
        if owner is None or name in owner.members:
            return owner and owner.members[name]
        found = (self._member(self._types.get(base), name) for base in owner.bases)
        return next((each for each in found if each is not None), None)

    def add_value(self, name):
        self._module.members[name] = "value"

    def read(self, source, documents):
        """Add what a C++ file binds; ``documents`` as ``documented`` gives them."""
        tokens = _tokens(source)
        owners = {"m": self._module}
        index = 0
        while index < len(tokens):
            if tokens[index : index + 2] == ["py", "::"] and tokens[index + 2] in {
                "class_",
                "enum_",
                "bind_vector",
            }:
                index = self._declaration(tokens, index + 2, owners, documents)
            elif (
                tokens[index] in owners
                and tokens[index + 1] == "."
                and tokens[index - 1] not in {".", "::", "->"}
            ):
                index = _chain(tokens, index + 1, owners[tokens[index]], documents)
            else:
                index += 1

    def _declaration(self, tokens, index, owners, documents):
        """A ``py::class_<...>(m, "Name")`` and the chain behind it; returns the index after them."""
        kind = tokens[index]
        if tokens[index + 1] != "<" or (end := _template_end(tokens, index + 1)) is None:
            return index + 1
        types = ["".join(part).replace("nvinfer1::", "") for part in _arguments(tokens[index + 2 : end])]
        index = end + 1
        variable = tokens[index] if tokens[index + 1] in {"(", "{"} else None
        index += variable is not None
        if tokens[index] not in {"(", "{"}:
            return index
        close = _closing(tokens, index)
        given = _arguments(tokens[index + 1 : close])
        if len(given) < 2 or (name := _text(given[1])) is None or given[0][0] not in owners:
            return close + 1
        outer = owners[given[0][0]]
        made = Owner(tuple(types[1:]), around=outer)
        if kind == "bind_vector":
            made.members["__init__"] = ["()", "(arg0, /)"]
        scope = next((known for known, each in self._classes.items() if each is outer), None)
        self._classes[f"{scope}.{name}" if scope else name] = made
        self._types[types[0]] = made
        if scope:
            outer.members[name] = "class"
        if variable:
            owners[variable] = made
        return _chain(tokens, close + 1, made, documents)


def documented(header):
    """Number of arguments that each docstring of a header describes, by ``NamespaceDoc::name``."""
    found, space = {}, ""
    for namespace, name, text in _DOCUMENT.findall(header):
        space = namespace or space
        if name:
            found[f"{space}::{name}"] = len(re.findall(r":(?:arg|param)\b", text))
    return found


def _tokens(source):
    kept, active = [], [True]
    for line in source.replace("\\\n", " ").split("\n"):
        directive = re.match(r"\s*#\s*(\w+)\s*(\S*)", line)
        if not directive:
            kept.append(line if all(active) else "")
        elif directive[1].startswith("if"):
            active.append(directive[2] in _DEFINED)
        elif directive[1] == "else":
            active[-1] = not active[-1]
        elif directive[1] == "endif":
            active.pop()
    return [token for token in _TOKEN.findall("\n".join(kept)) if token]


def _closing(tokens, start):
    """Index of the bracket that closes the one at ``start``."""
    expected = []
    for index in range(start, len(tokens)):
        if tokens[index] in _OPEN:
            expected.append(_OPEN[tokens[index]])
        elif expected and tokens[index] == expected[-1]:
            expected.pop()
            if not expected:
                return index
    raise ValueError(f"a bracket is not closed: {' '.join(tokens[start : start + 20])}")


def _template_end(tokens, start):
    """Index of the ``>`` of the ``<`` at ``start``; None if that is a comparison or a shift."""
    depth, index = 0, start
    while index < len(tokens) and tokens[index] != ";":
        if tokens[index] in _OPEN:
            index = _closing(tokens, index)
        depth += (tokens[index] == "<") - (tokens[index] == ">")
        if depth == 0:
            return index
        index += 1
    return None


def _arguments(tokens):
    """The parts between the commas that no bracket encloses."""
    parts, index = [[]], 0
    while index < len(tokens):
        token, end = tokens[index], index
        if token in _OPEN:
            end = _closing(tokens, index)
        elif token == "<" and index and re.match(r"[A-Za-z_]", tokens[index - 1]):
            end = _template_end(tokens, index) or index
        if token == ",":
            parts.append([])
        else:
            parts[-1] += tokens[index : end + 1]
        index = end + 1
    return [part for part in parts if part]


def _text(part):
    return part[0][1:-1] if part and part[0].startswith('"') else None


def _chain(tokens, index, owner, documents):
    """Apply ``.def(...).value(...)`` from ``index`` on; returns the index after them."""
    while tokens[index] == "." and tokens[index + 2] == "(":
        close = _closing(tokens, index + 2)
        _apply(owner, tokens[index + 1], _arguments(tokens[index + 3 : close]), documents)
        index = close + 1
    return index


def _apply(owner, method, given, documents):
    name = _text(given[0]) if given else None
    if method == "export_values":
        owner.around.members.update({name: each for name, each in owner.members.items() if each == "value"})
    elif method in {"def", "def_static"} and given[0][:3] == ["py", "::", "init"]:
        owner.add("__init__", _signature(given, documents))
    elif name is None:
        return
    elif method in {"def", "def_static"}:
        owner.add(name, _signature(given, documents))
    elif method in {"value", "attr"}:
        owner.members[name] = "value"
    elif method == "def_property":
        allowed = ("read" if given[1] != ["nullptr"] else "", "write" if given[2] != ["nullptr"] else "")
        owner.members[name] = " ".join(filter(None, allowed))
    elif method in _PROPERTIES:
        owner.members[name] = _PROPERTIES[method]


def _signature(given, documents):
    named = [name for part in given[1:] if (name := _parameter(part))]
    if named:
        return f"({', '.join(named)})"
    count = _unnamed(given, documents)
    if count is None:
        return UNKNOWN
    return f"({', '.join([*(f'arg{number}' for number in range(count)), '/'] if count else [])})"


def _parameter(part):
    """``name`` or, with a default, ``name=`` of ``"name"_a`` or ``py::arg("name")``; None for anything else."""
    name = _text(part) if part[1:2] == ["_a"] else _text(part[4:]) if part[:3] == ["py", "::", "arg"] else None
    return name and name + "=" * ("=" in part)


def _unnamed(given, documents):
    """How many parameters there are, of which none is named: by the code, else by the docstring."""
    first = given[0]
    if first[:4] == ["py", "::", "init", "<"]:
        return len(_arguments(first[4 : _template_end(first, 3)])) if first[-2:] == ["(", ")"] else None
    function = first[4:-1] if first[:3] == ["py", "::", "init"] else given[1]
    if function[0] == "[":
        start = _closing(function, 0) + 1
        taken = _arguments(function[start + 1 : _closing(function, start)])
        return len(taken) - ("self" in taken[0] if taken else 0)
    found = [documents["".join(part)] for part in given[1:] if "".join(part) in documents]
    return found[0] if found else None
