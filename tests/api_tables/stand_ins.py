"""Whether the stand-ins of ``tests/fakes`` have the names, parameters and order of the real packages."""

import inspect
from enum import EnumMeta

import fake_tensorrt
import fake_trt_build
import fake_trt_inspection
import fake_trt_network
from api_tables.table import parameters
from fake_cuda import FakeCuda

VERSIONS = ("8.6.0", "10.4.0", "11.1.0")
_SINCE_10 = VERSIONS[1:]
#: The class that each stand-in is for, and the versions that it is of.
CLASSES = (
    (fake_trt_build.Builder, "Builder", VERSIONS),
    (fake_trt_build.ILogger, "ILogger", VERSIONS),
    (fake_trt_build.IProgressMonitor, "IProgressMonitor", _SINCE_10),
    (fake_trt_network.Layer, "ILayer", VERSIONS),
    (fake_trt_network.NamedParserError, "ParserError", _SINCE_10),
    (fake_trt_network.Network, "INetworkDefinition", VERSIONS),
    (fake_trt_network.Parser, "OnnxParser", VERSIONS),
    (fake_trt_network.ParserError, "ParserError", VERSIONS),
    (fake_trt_build.Profile, "IOptimizationProfile", VERSIONS),
    (fake_trt_network.Tensor, "ITensor", VERSIONS),
    (fake_trt_build.TimingCache, "ITimingCache", VERSIONS),
    (fake_trt_build._Config, "IBuilderConfig", VERSIONS),
    (fake_trt_inspection.Context, "IExecutionContext", VERSIONS),
    (fake_trt_inspection.Engine, "ICudaEngine", VERSIONS[:1]),
    (fake_trt_inspection.Inspector, "EngineInspector", VERSIONS),
    (fake_trt_inspection.NewEngine, "ICudaEngine", _SINCE_10),
    (fake_trt_inspection.Runtime, "Runtime", VERSIONS),
    (fake_tensorrt.Context, "IExecutionContext", VERSIONS),
    (fake_tensorrt.NewContext, "IExecutionContext", _SINCE_10),
    (fake_tensorrt.NewEngine, "ICudaEngine", _SINCE_10),
    (fake_tensorrt.OldEngine, "ICudaEngine", VERSIONS[:1]),
    (fake_tensorrt.Runtime, "Runtime", VERSIONS),
)


def modules():
    """The stand-ins for the module ``tensorrt``, each with its version."""
    running = [(version, fake_tensorrt.FakeTensorRT(FakeCuda(), version)) for version in VERSIONS]
    return [*running, *((version, fake_trt_build.FakeTensorRT(version)) for version in VERSIONS)]


def names():
    """Every name that the stand-ins have of TensorRT, or say that they have."""
    found = {f"{owner}.{name}" for stand_in, owner, _ in CLASSES for name in _members(stand_in)}
    for _, module in modules():
        for name, value in _classes(module):
            found |= {name, *(f"{name}.{each}" for each in _values(value))}
    return found


def cuda_names():
    """The same of the stand-in for ``cuda.bindings.runtime``."""
    return {
        each
        for name, value in vars(FakeCuda).items()
        if name.startswith("cuda")
        for each in _cuda_names(name, value)
    }


def class_problems(stand_in, owner, versions, table):
    """What a stand-in has and its class lacks or has otherwise, a line each; its own names begin with ``_``."""
    problems = []
    for name, taken in _members(stand_in).items():
        full = f"{owner}.{name}"
        having = [version for version in versions if table.get(full, version) is not None]
        if not having:
            problems.append(f"{stand_in.__qualname__}.{name}: there is no {full} in {', '.join(versions)}")
        for version in having:
            what = table.get(full, version)
            if isinstance(what, list) and taken is not None and not _same(taken, what):
                problems.append(
                    f"{stand_in.__qualname__}.{name}({', '.join(taken)}) is {full}{what} in {version}"
                )
    return problems


def module_problems(module, version, table):
    """The same of the module itself: its classes' parameters and its enumerations' names."""
    problems = []
    for name, value in _classes(module):
        what = table.get(name, version)
        if what is None:
            problems.append(f"there is no {name} in {version}")
        elif isinstance(what, list) and callable(value) and not _same(_taken(value), what):
            problems.append(f"{name}({', '.join(_taken(value))}) is {name}{what} in {version}")
        problems += [
            f"there is no {name}.{each} in {version}"
            for each in _values(value)
            if table.get(f"{name}.{each}", version) is None
        ]
    return problems


def cuda_problems(stand_in, table):
    """What a stand-in for ``cuda.bindings.runtime`` has and a version lacks or has otherwise, a line each."""
    problems = []
    for name, value in vars(stand_in).items():
        if not name.startswith("cuda"):
            continue
        problems += [
            f"there is no {each} in {version}"
            for each in _cuda_names(name, value)
            for version in table.versions
            if table.get(each, version) is None
        ]
        if inspect.isfunction(value):
            taken = _taken(value)[1:]
            problems += [
                f"{name}({', '.join(taken)}) is {name}{table.get(name, version)} in {version}"
                for version in table.versions_with(name)
                if not _same(taken, table.get(name, version))
            ]
    return problems


def _cuda_names(name, value):
    return [f"{name}.{each}" for each in _values(value)] or [name]


def _classes(module):
    """The names of a module that are classes', by the way in which they are written."""
    return [(name, getattr(module, name)) for name in dir(module) if name[0].isupper()]


def _members(stand_in):
    """Public attributes of a class and its bases; of a method its parameters' names, else None."""
    found = {}
    for each in reversed(stand_in.__mro__[:-1]):
        for name, value in vars(each).items():
            if not name.startswith("_"):
                found[name] = _taken(value)[1:] if inspect.isfunction(value) else None
    return found


def _values(value):
    """Names of an enumeration's members, or of a namespace that stands for one."""
    if isinstance(value, EnumMeta):
        return list(value.__members__)
    if inspect.isclass(value):
        return [name for name in vars(value) if name.isupper()]
    return (
        [name for name in vars(value) if not name.startswith("_")]
        if type(value).__name__ == "SimpleNamespace"
        else []
    )


def _taken(function):
    return list(inspect.signature(function).parameters)


def _same(taken, signatures):
    return any(taken == [each.name for each in parameters(signature)] for signature in signatures)
