"""Our calls of TensorRT and of CUDA's runtime, held to the tables of their Python API; planted faults."""

import json

import pytest
from api_tables import check
from api_tables.table import CUDA, TENSORRT, Call, Table, as_text
from api_tables.uses import RESULTS, cuda_uses_of, uses_of

TABLE = Table.load(TENSORRT)
CUDA_TABLE = Table.load(CUDA)
BUILDER = "engines/trt/plan/builder.py"
RUNTIME = "engines/trt/runtime/engine.py"
CALLBACKS = "engines/trt/callbacks.py"


@pytest.fixture(scope="module")
def texts():
    return check.sources()


def test_every_use_of_tensorrt_is_right(texts):
    assert check.tensorrt_problems(texts, TABLE) == []


def test_every_use_of_cuda_is_right(texts):
    assert check.cuda_problems(texts, CUDA_TABLE) == []


def test_the_tables_have_all_versions_and_names():
    assert TABLE.versions[0] == "8.6.0"
    assert {each.split(".")[0] for each in TABLE.versions} == {"8", "9", "10", "11"}
    assert {each.split(".")[0] for each in CUDA_TABLE.versions} == {"12", "13"}
    assert [name for name in RESULTS if not TABLE.versions_with(name)] == []


def test_uses_are_found_through_our_own_functions(texts):
    found = {(use.place.rpartition("/")[0], use.name) for use in uses_of(texts).uses}
    assert {
        ("engines/trt/plan", "Builder"),
        ("engines/trt/plan", "IOptimizationProfile.set_shape"),  # of what a method returned
        ("engines/trt/plan", "ITensor.is_shape_tensor"),  # of what a function yields
        ("engines/trt/plan", "ParserError.node_name"),
        ("engines/trt/runtime", "IExecutionContext.execute_async_v3"),  # of an attribute
        ("engines/trt/runtime", "ICudaEngine.device_memory_size_v2"),  # by one of several names
        ("engines/trt", "IProgressMonitor.step_complete"),  # of a class that is derived
    } <= found
    assert len([use for use in cuda_uses_of(texts) if use.how == "call"]) > 15


def test_what_excuses_a_name_is_asked_for(texts):
    probed = {use.name for use in uses_of(texts).uses if use.how == "probe"}
    assert {name.removeprefix("!") for name in check.REACHED_WITH.values()} <= probed


@pytest.mark.parametrize("name", check.REACHED_WITH)
def test_what_needs_no_excuse_has_none(texts, monkeypatch, name):
    monkeypatch.delitem(check.REACHED_WITH, name)
    assert check.tensorrt_problems(texts, TABLE) != []


@pytest.mark.parametrize(
    ("file", "right", "wrong", "complaint"),
    [
        (
            BUILDER,
            "PROFILE_SHARING_0806, enable=True",
            "PROFILE_SHARING_0806, enabled=True",
            "(PROFILE_SHARING_0806, enabled=) does not fit",
        ),
        (
            BUILDER,
            "set_timing_cache(cache, ignore",
            "set_timing_cache(ignore",
            "(ignore_mismatch=) does not fit",
        ),
        (
            BUILDER,
            "config.set_tactic_sources(sources)",
            "config.set_tactic_sources(sources, 1)",
            "(sources, _) does not fit",
        ),
        (BUILDER, "trt.Builder(logger)", "trt.Builder(log=logger)", "(log=) does not fit Builder(logger)"),
        (
            BUILDER,
            "(network, config)",
            "(config, network)",
            "build_serialized_network(config, network) does not fit",
        ),
        (
            BUILDER,
            "OBEY_PRECISION_CONSTRAINTS",
            "OBEY_CONSTRAINTS",
            "the table lacks BuilderFlag.OBEY_CONSTRAINTS",
        ),
        (RUNTIME, "Runtime(self._logger)", "Runtime()", "() does not fit Runtime(logger)"),
        (BUILDER, "config.clear_flag(", "config.clear_flags(", "the table lacks IBuilderConfig.clear_flags"),
        (
            BUILDER,
            "trt.ProfilingVerbosity.DETAILED",
            "trt.ProfilingVerbosity.ALL",
            "lacks ProfilingVerbosity.ALL",
        ),
        (
            RUNTIME,
            "if hasattr(context, ",
            "if bool(context, ",
            "no IExecutionContext.set_device_memory in 8.6.0",
        ),
        (
            CALLBACKS,
            "phase_name: str, step: int",
            "step: int, phase_name: str",
            "(step, phase_name) does not override",
        ),
        (
            CALLBACKS,
            "def log(self, severity: Any, msg",
            "def log(self, level: Any, msg",
            "(level, msg) does not override",
        ),
    ],
)
def test_a_planted_fault_is_found(texts, file, right, wrong, complaint):
    assert right in texts[file]
    problems = check.tensorrt_problems({**texts, file: texts[file].replace(right, wrong)}, TABLE)
    assert any(each.startswith(f"{file}:") and complaint in each for each in problems), problems


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("def f(built: Any): built.set_flag(1)", "nobody knows what built in built.set_flag is"),
        ("def f(context: Any): context.active_optimization_profile = 1", "cannot be set, it is read in"),
        ("def f(context: Any): return context.device_memory", "IExecutionContext.device_memory cannot be read"),
        (
            "def f(trt: Any): trt.PluginFieldCollection(fields=[])",
            "(fields=) does not fit PluginFieldCollection",
        ),
        ("def f(parser: Any): parser.get_error(0).desc(1)", "ParserError.desc(_) does not fit"),
        ("def f(trt: Any): return trt.BuilderFlag.FP16", "there is no BuilderFlag.FP16 in 11.0.0, 11.1.0; ask"),
    ],
)
def test_what_must_not_be_written(written, complaint):
    """Each in a file of its own: in a version that lacks a name, it must be asked for there."""
    problems = check.tensorrt_problems({"engines/trt/planted.py": written}, TABLE)
    assert [each for each in problems if complaint in each], problems


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ('cuda.call("cudaMalloc", 1, 2)', "the call cudaMalloc(_, _) does not fit cudaMalloc(size)"),
        ('cuda.call("cudaMaloc", 1)', "the table lacks cudaMaloc"),
        ("kind = runtime.cudaMemcpyKind.cudaMemcpyHostToHouse", "lacks cudaMemcpyKind.cudaMemcpyHostToHouse"),
        ('name = "cudaErrorNoMemory"', "lacks cudaError_t.cudaErrorNoMemory"),
    ],
)
def test_a_planted_fault_of_cuda_is_found(written, complaint):
    assert complaint in check.cuda_problems({"runtime/planted.py": written}, CUDA_TABLE)[0]


@pytest.mark.parametrize(
    ("call", "signature", "fits"),
    [
        (Call(1), "(a, b=)", True),
        (Call(0, ("a",)), "(a, b=)", True),
        (Call(1, ("b",)), "(a, b=)", True),
        (Call(0, ("b",)), "(a, b=)", False),
        (Call(1, ("a",)), "(a, b=)", False),
        (Call(3), "(a, b=)", False),
        (Call(2, variables=("a", "b")), "(a, b=)", True),
        (Call(2, variables=("x", "b")), "(a, b=)", True),
        (Call(2, variables=("b", "")), "(a, b=)", False),
        (Call(1, ("c",)), "(a, b=)", False),
        (Call(1), "(arg0, /)", True),
        (Call(0, ("arg0",)), "(arg0, /)", False),
        (Call(1, (), open=True), "(a, b, c)", True),
        (Call(4, (), open=True), "(a, b, c)", False),
        (Call(), "()", True),
        (Call(), "(?)", True),
        (Call(1), "(?)", False),
    ],
)
def test_calls_and_signatures(call, signature, fits):
    assert call.fits(signature) == fits


def test_a_table_is_written_and_read():
    found = {
        "8.6.0": {"A.f": ["(x)"], "A.g": "value"},
        "9.1.0": {"A.f": ["(x)"]},
        "10.0.0": {"A.f": ["(x)", "(y, /)"], "A.g": "value"},
    }
    text = as_text(found)
    assert '"A.f": {"8.6.0..9.1.0": ["(x)"], "10.0.0": ["(x)", "(y, /)"]}' in text
    table = Table(json.loads(text))
    assert {
        version: {name: table.get(name, version) for name in ("A.f", "A.g")} for version in table.versions
    } == {version: {"A.g": None} | names for version, names in found.items()}
