"""Names and signatures read out of pybind11 code, of each form that TensorRT's sources have."""

import pytest
from api_tables.pybind import Api, documented

HEADER = """
namespace ErrorDoc
{
constexpr const char* code = R"trtdoc(
    :returns: The error's code
)trtdoc";

constexpr char const* entry = R"trtdoc(
    :arg index: Which one.
    :arg deep: How deep.
)trtdoc";
} // namespace ErrorDoc
"""
SOURCE = """
namespace lambdas { static const auto make = [](int a, int b) { return a < b ? "x" : "(y"; }; }
void bindAll(py::module& m)
{
    class PyLogger : public ILogger { virtual void log(Severity s) override { m.attr("x"); } };
    py::class_<ILogger, PyLogger> base{m, "ILogger", LoggerDoc::descr, py::module_local()};
    base.def(py::init<>()).def("log", &ILogger::log, "severity"_a, "msg"_a, LoggerDoc::log);
    py::enum_<ILogger::Severity>(base, "Severity", py::arithmetic())
        .value("ERROR", ILogger::Severity::kERROR, SeverityDoc::error)  // .value("COMMENT", x)
        .export_values();
    py::class_<Default, ILogger>(m, "Logger")
        .def(py::init<Severity>(), "min_severity"_a = Severity::kWARNING);
    py::class_<IEngine, std::unique_ptr<IEngine, py::nodelete>>(m, "Engine", EngineDoc::descr)
        .def(py::init([](ILogger& logger) { return create(logger, 1); }), "logger"_a, py::keep_alive<1, 2>())
        .def("run", py::overload_cast<int, Strategy>(&IEngine::run), EngineDoc::run,
            py::arg("strategy") = Strategy::kA, py::call_guard<py::gil_scoped_release>{})
        .def("run", py::overload_cast<IConfig*>(&IEngine::run), "config"_a = nullptr,
            "bits"_a = 1U << int(B::kX))
        .def("build", static_cast<void* (IEngine::*)(A&, B&) noexcept>(&IEngine::build),
            "network"_a, "config"_a)
        .def("take", [](IEngine& self, std::map<int, int> const& given) -> int { return self.take(given); })
        .def("code", &IEngine::code, ErrorDoc::code)
        .def("entry", utils::deprecateMember(&IEngine::entry, "other"), ErrorDoc::entry)
        .def("hidden", &IEngine::hidden)
#if EXPORT_ALL_BINDINGS
        .def("full", &IEngine::full, "x"_a)
#else
        .def("lean", &IEngine::lean, "x"_a)
#endif
#if ENABLE_OTHER
        .def("other", &IEngine::other, "x"_a)
#endif
        .def_property("memory", nullptr, &lambdas::set_memory)
        .def_property("name", &IEngine::getName, py::cpp_function(&IEngine::setName, py::keep_alive<1, 2>{}))
        .def_property_readonly("size", &IEngine::size);
    py::class_<Fields>(m, "Fields").def(py::init<int, std::vector<A, B>>());
    py::bind_vector<std::vector<Field>>(m, "FieldCollection");
    m.attr("float32") = DataType::kFLOAT;
    m.def("registry", [m]() { return m.attr("_registry"); }, FreeDoc::registry);
}
"""


@pytest.fixture(scope="module")
def api():
    made = Api()
    made.read(SOURCE, documented(HEADER))
    return made


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ILogger", ["()"]),
        ("ILogger.log", ["(severity, msg)"]),
        ("ILogger.ERROR", "value"),
        ("ILogger.Severity", "class"),
        ("ILogger.COMMENT", None),
        ("Logger", ["(min_severity=)"]),
        ("Logger.log", ["(severity, msg)"]),
        ("Logger.ERROR", "value"),
        ("Engine", ["(logger)"]),
        ("Engine.run", ["(strategy=)", "(config=, bits=)"]),
        ("Engine.build", ["(network, config)"]),
        ("Engine.take", ["(arg0, /)"]),
        ("Engine.code", ["()"]),
        ("Engine.entry", ["(arg0, arg1, /)"]),
        ("Engine.hidden", ["(?)"]),
        ("Engine.full", ["(x)"]),
        ("Engine.lean", None),
        ("Engine.other", None),
        ("Engine.memory", "write"),
        ("Engine.name", "read write"),
        ("Engine.size", "read"),
        ("Fields", ["(arg0, arg1, /)"]),
        ("FieldCollection", ["()", "(arg0, /)"]),
        ("float32", "value"),
        ("registry", ["()"]),
        ("nothing", None),
        ("Nobody.run", None),
    ],
)
def test_what_a_name_is(api, name, what):
    assert api.lookup(name) == what
