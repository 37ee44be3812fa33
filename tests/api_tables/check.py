"""Whether what our sources use of an API is in its table, in every version in which they reach it."""

from pathlib import Path

from api_tables.table import parameters
from api_tables.uses import cuda_uses_of, uses_of

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("benchmarks", "engines", "plugins", "runtime", "validation")
#: Names that a version may lack although nobody asks for them: they are reached only where another name is
#: there, or with ``!`` is not. ``name(_)`` means calls with one argument only, ``name=`` means setting it.
REACHED_WITH = {
    # The route ``flags``, which versions without FP16 do not have.
    "BuilderFlag.INT8": "BuilderFlag.FP16",
    "ILayer.precision": "BuilderFlag.FP16",
    "ILayer.set_output_type": "BuilderFlag.FP16",
    "IBuilderConfig.progress_monitor": "IProgressMonitor",
    "ICudaEngine.create_execution_context(_)": "ExecutionContextAllocationStrategy",
    "ICudaEngine.create_execution_context_without_device_memory": "!ExecutionContextAllocationStrategy",
    # The plugin of TensorRT that the DCNv2 kernel is compared with.
    "IPluginRegistry.get_plugin_creator": "BuilderFlag.FP16",
    "ITensor.dtype=": "BuilderFlag.FP16",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": "BuilderFlag.FP16",
}
#: What to do about a name that the table lacks.
_UNKNOWN = (
    "correct it or, if it is right, write the tables again: docs/tensorrt.md, The tables of its Python API"
)
_ABSENT = "; ask for it with hasattr, or say in REACHED_WITH of tests/api_tables/check.py what it comes with"


def sources():
    """Text of every source file that may use TensorRT or CUDA's runtime, by its name in the repository."""
    paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def tensorrt_problems(texts, table):
    """What is wrong with the sources' use of TensorRT, a line each."""
    found = uses_of(texts)
    probed = {(use.folder, use.name) for use in found.uses if use.how == "probe"}
    # What a class of ours has besides that which it derives from.
    own = {use.name for use in found.uses if use.how == "override" and not table.versions_with(use.name)}
    problems = [
        f"{place}: nobody knows what {name.partition('.')[0]} in {name} is; name it as PARAMETERS in"
        " tests/api_tables/uses.py does, or give it a type"
        for place, name in found.unknown
    ]
    for use in found.uses:
        if use.name not in own:
            problems += _problems(use, table, _needed(use, table, probed))
    return problems


def cuda_problems(texts, table):
    """What is wrong with the sources' use of cuda-bindings, a line each."""
    return [each for use in cuda_uses_of(texts) for each in _problems(use, table, table.versions)]


def _needed(use, table, probed):
    """The versions in which a place is reached."""
    form = {"call": str(use.taken), "write": "="}.get(use.how, "")
    if guard := REACHED_WITH.get(use.name + form) or REACHED_WITH.get(use.name):
        there = table.versions_with(guard.removeprefix("!"))
        return [each for each in table.versions if (each in there) != guard.startswith("!")]
    owner = use.name.partition(".")[0]
    asked = next((name for name in (use.name, owner) if (use.folder, name) in probed), None)
    if asked is None and use.how == "override":
        asked = use.name
    return table.versions if asked is None else table.versions_with(asked)


def _problems(use, table, needed):
    if not table.versions_with(use.name):
        return [f"{use.place}: the table lacks {use.name}; {_UNKNOWN}"]
    wrong = {}
    for version in needed:
        if (flaw := _flaw(use, table.get(use.name, version))) is not None:
            wrong.setdefault(flaw, []).append(version)
    return [
        f"{use.place}: {flaw} in {'all versions' if versions == [*table.versions] else ', '.join(versions)}"
        + _ABSENT * flaw.startswith("there is no")
        for flaw, versions in wrong.items()
    ]


def _flaw(use, what):
    """What is wrong with a use in a version where the name is that; None if nothing is."""
    if what is None:
        return f"there is no {use.name}"
    if use.how == "call" and not (isinstance(what, list) and any(use.taken.fits(each) for each in what)):
        return f"the call {use.name}{use.taken.shown()} does not fit {_shown(use.name, what)}"
    if use.how == "write" and "write" not in what:
        return f"{use.name} cannot be set, it is {_shown(use.name, what)}"
    if use.how == "read" and what == "write":
        return f"{use.name} cannot be read"
    if use.how == "override" and not any(use.taken == _names(each) for each in what):
        return f"{use.name}({', '.join(use.taken)}) does not override {_shown(use.name, what)}"
    return None


def _names(signature):
    return tuple(each.name for each in parameters(signature))


def _shown(name, what):
    return what if isinstance(what, str) else " or ".join(f"{name}{each}" for each in what)
