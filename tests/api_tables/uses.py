"""What our sources use of TensorRT and of CUDA's runtime: found in their syntax trees, without running them.

A value's type follows from where it comes from: the module ``tensorrt``, a call whose result ``RESULTS``
names, an attribute or function of ours that has or gives such a value. Where an object comes in as a parameter
that is ``Any``, its name says what it is: ``PARAMETERS``.
"""

import ast
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from api_tables.table import Call

#: What a parameter without a type is, by its name.
PARAMETERS = {
    "trt": ("module",),
    "builder": ("object", "Builder"),
    "config": ("object", "IBuilderConfig"),
    "context": ("object", "IExecutionContext"),
    "creator": ("object", "IPluginCreator"),
    "engine": ("object", "ICudaEngine"),
    "error": ("object", "ParserError"),
    "layer": ("object", "ILayer"),
    "logger": ("object", "ILogger"),
    "network": ("object", "INetworkDefinition"),
    "parser": ("object", "OnnxParser"),
    "runtime": ("object", "Runtime"),
    "tensor": ("object", "ITensor"),
}
#: The class of what a function or method returns.
RESULTS = {
    "Builder.build_serialized_network": "IHostMemory",
    "Builder.create_builder_config": "IBuilderConfig",
    "Builder.create_network": "INetworkDefinition",
    "Builder.create_optimization_profile": "IOptimizationProfile",
    "IBuilderConfig.create_timing_cache": "ITimingCache",
    "IBuilderConfig.get_timing_cache": "ITimingCache",
    "ICudaEngine.create_engine_inspector": "EngineInspector",
    "ICudaEngine.create_execution_context": "IExecutionContext",
    "ICudaEngine.create_execution_context_without_device_memory": "IExecutionContext",
    "ILayer.get_input": "ITensor",
    "ILayer.get_output": "ITensor",
    "INetworkDefinition.add_constant": "ILayer",
    "INetworkDefinition.add_input": "ITensor",
    "INetworkDefinition.add_plugin_v2": "ILayer",
    "INetworkDefinition.get_input": "ITensor",
    "INetworkDefinition.get_layer": "ILayer",
    "INetworkDefinition.get_output": "ITensor",
    "IPluginRegistry.get_plugin_creator": "IPluginCreator",
    "OnnxParser.get_error": "ParserError",
    "Runtime.deserialize_cuda_engine": "ICudaEngine",
    "get_plugin_registry": "IPluginRegistry",
}
#: Kinds of types that have members.
_OBJECTS = {"module", "class", "object"}
#: Functions that give the items that they take.
_SAME_ITEMS = {"list", "reversed", "sorted", "tuple"}
#: Files that handle TensorRT's objects.
_TENSORRT = re.compile(r"\Aengines/trt/|(?<![\w.])(import tensorrt|trt)\b")
_ROUNDS = 8  # a type passes through fewer of our functions and attributes than that
_CUDA = re.compile(r"cuda[A-Z]\w*")


class Use(NamedTuple):
    """One place that uses a name.

    ``how`` is read, write, call, override (``taken`` are its parameters' names), or probe: it may be absent.
    """

    place: str
    name: str
    how: str
    taken: Call | tuple | None = None

    @property
    def folder(self):
        """The top folder of the place."""
        return self.place.partition("/")[0]


@dataclass
class Found:
    """Uses, and places that use an attribute of a parameter whose type nobody can know."""

    uses: list = field(default_factory=list)
    unknown: list = field(default_factory=list)


def uses_of(sources):
    """What sources, text by file name, use of TensorRT."""
    trees = {name: ast.parse(text) for name, text in sources.items() if _TENSORRT.search(f"{name}\n{text}")}
    given = _Types()
    for _ in range(_ROUNDS):
        known, given, found = given, _Types(), Found()
        for name, tree in trees.items():
            _Reader(name, known, given, found).visit(tree)
    return found


def cuda_uses_of(sources):
    """What sources use of ``cuda.bindings.runtime``: its names, and what ``Cuda.call`` passes to a function."""
    found = []
    for file, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            place = f"{file}:{getattr(node, 'lineno', 0)}"
            name = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)
            if isinstance(name, str) and _CUDA.fullmatch(name):
                owner = getattr(getattr(node, "value", None), "attr", "")
                owner = (
                    "cudaError_t" if name.startswith("cudaError") else owner if _CUDA.fullmatch(owner) else ""
                )
                found.append(Use(place, f"{owner}.{name}".lstrip("."), "read"))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "call" and node.args:
                function = getattr(node.args[0], "value", None)
                if isinstance(function, str) and _CUDA.fullmatch(function):
                    found.append(Use(place, function, "call", _call(node.args[1:], node.keywords)))
    return found


@dataclass
class _Types:
    """Types of our own functions' results, by file and name, and of attributes, by name."""

    results: dict = field(default_factory=lambda: defaultdict(set))
    attributes: dict = field(default_factory=lambda: defaultdict(set))


def _only(types):
    """The type, if there is just one."""
    return next(iter(types)) if types and len(types) == 1 else None


def _call(arguments, keywords):
    starred = sum(isinstance(each, ast.Starred) for each in arguments)
    named = tuple(each.arg for each in keywords if each.arg)
    # Behind a star the places are not known.
    passed = tuple(itertools.takewhile(lambda each: not isinstance(each, ast.Starred), arguments))
    return Call(
        len(arguments) - starred,
        named,
        open=bool(starred) or len(named) < len(keywords),
        variables=tuple(getattr(each, "id", getattr(each, "attr", "")) for each in passed),
    )


class _Reader(ast.NodeVisitor):
    """Reads one file: ``known`` are types found in the round before, ``given`` gets those of this one.

    Visiting an expression records its uses and returns its type, or None if that is not TensorRT's. A type is
    ``("module",)``, ``("class", name)``, ``("object", class)``, ``("function", name)``, ``("items", type)`` of
    something to be iterated over, ``("tuple", types)``, ``("texts", constants)`` or ``("text", choices)``.
    """

    def __init__(self, file, known, given, found):
        self._file, self._known, self._given, self._found = file, known, given, found
        self._names = {}
        self._imported = {}
        self._unclear = set()
        self._function = None
        self._in_class = False

    # Statements

    def visit_FunctionDef(self, node):
        saved = self._names, self._unclear, self._function, self._in_class
        self._names, self._unclear = dict(self._names), set()
        self._function = ("" if self._in_class else self._file, node.name)
        self._in_class = False
        for each in [*node.args.args, *node.args.kwonlyargs]:
            untyped = each.annotation is None or ast.unparse(each.annotation) == "Any"
            self._name(each.arg, PARAMETERS.get(each.arg) if untyped else None)
            if each.annotation is not None and untyped and each.arg not in PARAMETERS:
                self._unclear.add(each.arg)
        for each in node.body:
            self.visit(each)
        self._names, self._unclear, self._function, self._in_class = saved

    def visit_ClassDef(self, node):
        bases = [kind[1] for base in node.bases if (kind := self.visit(base)) and kind[0] == "class"]
        for each in node.body if bases else ():
            if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
                taken = tuple(argument.arg for argument in each.args.args[1:])
                self._add(each, f"{bases[0]}.{each.name}", "override", taken)
        for each in node.body:
            self._in_class = True
            self.visit(each)
        self._in_class = False

    def visit_Import(self, node):
        for each in node.names:
            if each.name == "tensorrt":
                self._names[each.asname or each.name] = ("module",)

    def visit_ImportFrom(self, node):
        path = (node.module or "").removeprefix("pssdet.").replace(".", "/") + ".py"
        self._imported |= {each.asname or each.name: (path, each.name) for each in node.names}

    def visit_Assign(self, node):
        kind = self.visit(node.value)
        for target in node.targets:
            self._bind(target, kind)

    def visit_AnnAssign(self, node):
        self._bind(node.target, self.visit(node.value) if node.value else None)

    def visit_For(self, node):
        self._bind(node.target, _item(self.visit(node.iter)))
        for each in [*node.body, *node.orelse]:
            self.visit(each)

    def visit_Return(self, node):
        kind = self.visit(node.value) if node.value else None
        if self._function and _is_tensorrt(kind):
            self._given.results[self._function].add(kind)

    # Expressions

    def visit_Name(self, node):
        return self._names.get(node.id)

    def visit_Constant(self, node):
        return ("text", (node.value,)) if isinstance(node.value, str) else None

    def visit_Attribute(self, node):
        return self._attribute(node, "read")

    def visit_NamedExpr(self, node):
        kind = self.visit(node.value)
        self._bind(node.target, kind)
        return kind

    def visit_BoolOp(self, node):
        return next(filter(_is_tensorrt, [self.visit(each) for each in node.values]), None)

    def visit_IfExp(self, node):
        self.visit(node.test)
        return next(filter(_is_tensorrt, [self.visit(each) for each in (node.body, node.orelse)]), None)

    def visit_Subscript(self, node):
        self.visit(node.slice)
        return _item(self.visit(node.value))

    def visit_Tuple(self, node):
        kinds = tuple(self.visit(each) for each in node.elts)
        if kinds and all(kind and kind[0] == "text" for kind in kinds):
            return ("texts", tuple(text for kind in kinds for text in kind[1]))
        return ("tuple", kinds) if any(kinds) else None

    visit_List = visit_Tuple  # noqa: N815

    def visit_GeneratorExp(self, node):
        saved = dict(self._names)
        for each in node.generators:
            self._bind(each.target, _item(self.visit(each.iter)))
            for test in each.ifs:
                self.visit(test)
        kind = self.visit(node.elt)
        self._names = saved
        return ("items", kind) if kind else None

    visit_ListComp = visit_SetComp = visit_GeneratorExp  # noqa: N815

    def visit_Call(self, node):
        if getattr(node.func, "id", "") in {"hasattr", "getattr"}:
            return self._asked(node)
        call = _call(node.args, node.keywords)
        if isinstance(node.func, ast.Attribute):
            kind = self._attribute(node.func, "call", call)
        elif (kind := self.visit(node.func)) and kind[0] in {"class", "function"}:
            self._add(node, kind[1], "call", call)
        given = [self.visit(each) for each in node.args]
        for each in node.keywords:
            self.visit(each.value)
        if kind and kind[0] == "class":
            return ("object", kind[1])
        if kind and kind[0] == "function":
            return ("object", RESULTS[kind[1]]) if kind[1] in RESULTS else None
        return self._result_of_ours(node.func, given)

    def _result_of_ours(self, function, given):
        """The type of what a function or a method of ours returns, or one that rearranges items."""
        name = getattr(function, "id", "")
        if name == "enumerate" and (item := _item(given[0])):
            return ("items", ("tuple", (None, item)))
        if name in _SAME_ITEMS and given:
            return given[0]
        ours = (
            ("", function.attr)
            if isinstance(function, ast.Attribute)
            else self._imported.get(name, (self._file, name))
        )
        return _only(self._known.results.get(ours))

    def _attribute(self, node, how, call=None):
        base = self.visit(node.value)
        if base and base[0] in _OBJECTS:
            return self._member(node, base, node.attr, how, call)
        if isinstance(node.value, ast.Name) and node.value.id in self._unclear:
            self._found.unknown.append((self._place(node), f"{node.value.id}.{node.attr}"))
        return _only(self._known.attributes.get(node.attr))

    def _member(self, node, base, name, how, call=None):
        """Record a use of a member; returns its type."""
        if base[0] == "class" and name == "__init__":  # called with ``self`` by a class that is derived
            self._add(node, base[1], "call", Call(call.positional - 1, call.keywords, open=call.open))
            return None
        if base[0] != "module" and name.startswith("__"):
            return None
        full = name if base[0] == "module" else f"{base[1]}.{name}"
        self._add(node, full, how, call)
        return ("class", name) if base[0] == "module" and name[0].isupper() else ("function", full)

    def _asked(self, node):
        """``hasattr(object, name)`` or ``getattr(object, name[, default])``; the name may be one of several."""
        base, named, *_ = [self.visit(each) for each in node.args]
        if not base or not named or named[0] != "text" or base[0] not in _OBJECTS:
            return None
        optional = node.func.id == "hasattr" or len(node.args) > 2
        kinds = {self._member(node, base, name, "probe" if optional else "read") for name in named[1]}
        return _only(kinds) if node.func.id == "getattr" else None

    # Names

    def _bind(self, target, kind):
        """Give a name, an attribute or several names their type."""
        if isinstance(target, ast.Name):
            self._name(target.id, kind)
        elif isinstance(target, ast.Attribute):
            base = self.visit(target.value)
            if base and base[0] in _OBJECTS:
                self._member(target, base, target.attr, "write")
            elif _is_tensorrt(kind):
                self._given.attributes[target.attr].add(kind)
        elif isinstance(target, ast.Tuple):
            kinds = kind[1] if kind and kind[0] == "tuple" else (None,) * len(target.elts)
            for each, its_kind in zip(target.elts, kinds, strict=False):
                self._bind(each, its_kind)
        else:
            self.visit(target)

    def _name(self, name, kind):
        self._names.pop(name, None)
        self._unclear.discard(name)
        if kind:
            self._names[name] = kind

    def _add(self, node, name, how, taken=None):
        self._found.uses.append(Use(self._place(node), name, how, taken))

    def _place(self, node):
        return f"{self._file}:{node.lineno}"


def _is_tensorrt(kind):
    """Whether a type is TensorRT's, or of something that has items of such a type."""
    if kind and kind[0] == "tuple":
        return any(map(_is_tensorrt, kind[1]))
    return bool(kind) and (kind[0] in _OBJECTS or (kind[0] == "items" and _is_tensorrt(kind[1])))


def _item(kind):
    """The type of what is iterated over."""
    if kind and kind[0] == "items":
        return kind[1]
    if kind and kind[0] == "texts":
        return ("text", kind[1])
    if kind and kind[0] == "tuple":
        return next((each for each in kind[1] if each), None)
    return None
