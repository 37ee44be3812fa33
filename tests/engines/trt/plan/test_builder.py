"""Building plans with each generation of TensorRT: what the builder is given, and what becomes of failures."""

import json
import threading

import fake_trt_build
import pytest
import small_graph as small

from pssdet.engines.precision.operations import convolution_flops
from pssdet.engines.trt.callbacks import report_elapsed
from pssdet.engines.trt.graph.rewrite import plugin_graph
from pssdet.engines.trt.plan import builder
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import (
    Capabilities,
    capabilities_of,
    choose_route,
    graph_for,
    unloadable_sources,
)
from pssdet.engines.trt.plan.inspector import summarise
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed

PROFILES = (Profile((1, 32, 32), (1, 64, 96), (4, 128, 128)), Profile((8, 64, 64), (8, 64, 64), (8, 64, 64)))
VERSIONS = ("8.6.0", "10.4.0", "11.1.0")


@pytest.fixture(params=VERSIONS)
def trt(request, monkeypatch):
    return fake_trt_build.install(monkeypatch, request.param)


@pytest.fixture
def old(monkeypatch):
    return fake_trt_build.install(monkeypatch, "8.6.0")


@pytest.fixture
def ten(monkeypatch):
    return fake_trt_build.install(monkeypatch, "10.4.0")


@pytest.fixture(autouse=True)
def _libraries(monkeypatch):
    """cuBLAS is here, cuDNN is not."""

    def load(name):
        if "cudnn" in name:
            raise OSError(name)

    monkeypatch.setattr(builder, "unloadable_sources", lambda able: unloadable_sources(able, load))


def make(trt, path, *, reduced=True, typed=None, report=lambda _: None, **settings):
    route = choose_route(capabilities_of(trt), reduced=reduced, typed=typed)
    graph, float32 = graph_for(plugin_graph(small.exported()), route, [small.PREDICTOR], reduced=reduced)
    chosen = BuildSettings(**{"profiles": PROFILES, "route": route, "float32": float32} | settings)
    return builder.build_plan(graph, path / "model.plan", chosen, report).layers


def flags(trt):
    return {flag.name for flag in trt.config.flags}


class TestPrecision:
    def test_half_is_what_was_asked_for_but_for_the_recipe(self, trt, tmp_path):
        layers = make(trt, tmp_path)
        flops = convolution_flops(small.exported(), PROFILES[0].opt)
        counted = summarise(layers, flops)
        assert counted.wide == (small.PREDICTOR,)
        assert counted.flops == {
            "fp16": flops[small.STEM] + flops[small.DEFORM],
            "fp32": flops[small.PREDICTOR],
        }

    def test_float32(self, trt, tmp_path):
        layers = make(trt, tmp_path, reduced=False)
        assert set(summarise(layers, convolution_flops(small.exported(), (1, 64, 64))).flops) == {"fp32"}
        assert flags(trt) == set()  # TF32, on by default, is off

    def test_flags_and_constraints_where_there_is_nothing_else(self, trt, tmp_path):
        make(trt, tmp_path)
        held = {layer.name for layer in trt.network._layers if layer.held is not None}
        if trt.major < 10:
            assert flags(trt) == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
            assert not trt.network.typed
            # What is no part of trunk and head stays float32 too; what moves data is given a type alone.
            assert held == {small.PREDICTOR, small.SUM}
            types = {layer.name: layer.output_types for layer in trt.network._layers if layer.output_types}
            assert types == {name: {0: trt.float32} for name in (*held, "flatten")}
        else:
            assert flags(trt) == set()
            assert trt.network.typed
            assert held == set()

    def test_a_node_that_cannot_be_held_stops_the_build(self, trt, tmp_path):
        trt.loses = {small.PREDICTOR}
        if trt.major < 10:
            with pytest.raises(GateFailed, match=f"no layer for {small.PREDICTOR}, to be held"):
                make(trt, tmp_path)
            assert not (tmp_path / "model.plan").exists()
        else:
            make(trt, tmp_path)

    def test_int8_is_a_flag_where_there_are_flags(self, trt, tmp_path):
        make(trt, tmp_path, int8=True)
        assert ("INT8" in flags(trt)) == (trt.major < 10)

    @pytest.mark.parametrize("typed", [None, True])
    def test_strongly_typed_is_the_default_of_10(self, ten, tmp_path, typed):
        layers = make(ten, tmp_path, typed=typed)
        assert ten.network.typed
        assert flags(ten) == set()
        assert summarise(layers, convolution_flops(small.exported(), (1, 64, 64))).wide == (small.PREDICTOR,)

    def test_flags_on_request(self, ten, tmp_path):
        layers = make(ten, tmp_path, typed=False, int8=True)
        assert not ten.network.typed
        assert flags(ten) == {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"}
        assert summarise(layers, convolution_flops(small.exported(), (1, 64, 64))).wide == (small.PREDICTOR,)

    def test_float32_may_be_strongly_typed(self, ten, tmp_path):
        make(ten, tmp_path, reduced=False, typed=True)
        assert ten.network.typed
        make(ten, tmp_path, reduced=False)
        assert not ten.network.typed

    def test_strongly_typed_where_there_is_no_such_thing(self, old, tmp_path):
        with pytest.raises(BadInput, match="strongly typed"):
            make(old, tmp_path, typed=True)

    def test_flags_where_there_are_none(self, tmp_path, monkeypatch):
        eleven = fake_trt_build.install(monkeypatch, "11.1.0")
        with pytest.raises(BadInput, match="no flags for FP16 and INT8"):
            make(eleven, tmp_path, typed=False)

    def test_flags_without_constraints_are_no_way(self, old, tmp_path):
        without = Capabilities(**vars(capabilities_of(old)) | {"constraints": False})
        with pytest.raises(EnvironmentMissing, match="OBEY_PRECISION_CONSTRAINTS"):
            choose_route(without, reduced=True)

    def test_creation_flags(self, trt, tmp_path):
        make(trt, tmp_path)
        # EXPLICIT_BATCH; with STRONGLY_TYPED; STRONGLY_TYPED alone
        assert trt.network.flags == {8: 1, 10: 0b11, 11: 1}[trt.major]
        make(trt, tmp_path, reduced=False)
        assert trt.network.flags == {8: 1, 10: 1, 11: 0}[trt.major]

    def test_layers_without_metadata_go_by_their_names(self, old, tmp_path):
        old.knows_metadata = False
        make(old, tmp_path)
        assert {layer.name for layer in old.network._layers if layer.held} == {small.PREDICTOR, small.SUM}

    def test_documented_nodes_are_held(self, old, tmp_path, monkeypatch):
        """The parser of 8.6 writes the documentation into the metadata, behind the name."""
        graph = small.exported()
        for node in graph.graph.node:
            node.doc_string = "as [trained] | by hand"
        monkeypatch.setattr(small, "exported", lambda: graph)
        make(old, tmp_path)
        assert {layer.metadata for layer in old.network._layers} == {
            f"[ONNX Layer: {layer.name}]" for layer in old.network._layers
        }
        assert {layer.name for layer in old.network._layers if layer.held} == {small.PREDICTOR, small.SUM}


class TestConfiguration:
    def test_every_profile_has_every_input(self, trt, tmp_path):
        make(trt, tmp_path)
        assert trt.config.profiles == [
            {
                "image": [[1, 3, 32, 32], [1, 3, 64, 96], [4, 3, 128, 128]],
                "image_size": [[1, 2], [1, 2], [4, 2]],
            },
            {"image": [[8, 3, 64, 64]] * 3, "image_size": [[8, 2]] * 3},
        ]

    def test_refused_profiles(self, trt, tmp_path):
        trt.refuses_profiles = True
        with pytest.raises(GateFailed, match="1x32x32 to 1x64x96"):
            make(trt, tmp_path)

    def test_memory_and_verbosity(self, trt, tmp_path):
        make(trt, tmp_path, workspace=1 << 30)
        assert trt.config.pools == {"WORKSPACE": 1 << 30}
        assert trt.config.profiling_verbosity.name == "DETAILED"
        make(trt, tmp_path)
        assert trt.config.pools == {}

    def test_sources_whose_libraries_are_missing_are_not_used(self, trt, tmp_path):
        make(trt, tmp_path)
        used = {source.name for source in trt.TacticSource if trt.config.sources >> int(source) & 1}
        core = {"EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"}
        assert used == (core if trt.major >= 11 else {"CUBLAS", "CUBLAS_LT", *core})

    def test_no_source_outside_of_tensorrt_if_so_told(self, trt, tmp_path):
        make(trt, tmp_path, external_kernels=False)
        used = {source.name for source in trt.TacticSource if trt.config.sources >> int(source) & 1}
        assert used == {"EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"}

    def test_sources_that_are_off_stay_off(self, old, tmp_path):
        old.default_sources = 1 << int(old.TacticSource.JIT_CONVOLUTIONS)
        make(old, tmp_path)
        assert old.config.sources == old.default_sources

    def test_compatible_engines(self, trt, tmp_path):
        make(trt, tmp_path, version_compatible=True, hardware="ampere_plus")
        assert "VERSION_COMPATIBLE" in flags(trt)
        assert trt.config.hardware_compatibility_level.name == "AMPERE_PLUS"
        assert trt.runtime.engine_host_code_allowed
        make(trt, tmp_path)
        assert trt.config.hardware_compatibility_level is None
        assert not trt.runtime.engine_host_code_allowed

    def test_what_a_version_lacks_is_refused_before_building(self, old, tmp_path, monkeypatch):
        with pytest.raises(BadInput, match="it offers ampere_plus"):
            make(old, tmp_path, hardware="same_compute_capability")
        monkeypatch.delattr(old.IBuilderConfig, "plugins_to_serialize")
        with pytest.raises(BadInput, match="plugins"):
            make(old, tmp_path, plugins_in_plan=True)
        members = "FP16 INT8 TF32 OBEY_PRECISION_CONSTRAINTS"
        monkeypatch.setattr(old, "BuilderFlag", fake_trt_build._enum("BuilderFlag", members))
        with pytest.raises(BadInput, match="version-compatible"):
            make(old, tmp_path, version_compatible=True)
        assert old.network is None

    def test_contexts_may_share_a_profile(self, trt, tmp_path):
        make(trt, tmp_path)
        expected = {"PROFILE_SHARING_0806"} if trt.major < 10 else set()
        assert {feature.name for feature in trt.config.features} == expected

    def test_plugins_travel_with_the_plan_on_request(self, trt, tmp_path, monkeypatch):
        loaded = []
        monkeypatch.setattr(builder, "load_plugins", lambda module, path: loaded.append(path))
        library = tmp_path / "libpssdet_plugins.so"
        make(trt, tmp_path, plugins=library)
        assert trt.config.plugins_to_serialize == []
        opened = []
        layers = '{"Layers": [{"Name": "apart"}]}'
        monkeypatch.setattr(builder, "described_apart", lambda *given: opened.append(given) or layers)
        found = make(trt, tmp_path, plugins=library, plugins_in_plan=True, version_compatible=True)
        assert trt.config.plugins_to_serialize == [str(library)]
        assert loaded == [library, library]
        # This process has the plugins, so another one opened it.
        assert opened == [(tmp_path / "model.plan", PROFILES[0])]
        assert found == [{"Name": "apart"}]
        with pytest.raises(BadInput, match="no plugin library"):
            make(trt, tmp_path, plugins_in_plan=True, version_compatible=True)

    def test_stages_become_outputs(self, trt, tmp_path):
        make(trt, tmp_path, stages=("c2", "boxes"))
        assert [tensor.name for tensor in trt.network._outputs] == ["boxes", "c2"]
        with pytest.raises(GateFailed, match="p9"):
            make(trt, tmp_path, stages=("c2", "p9"))


class TestFailures:
    def test_all_errors_of_the_parser(self, trt, tmp_path):
        kind = fake_trt_build.NamedParserError if trt.major >= 10 else fake_trt_build.ParserError
        trt.parser_errors = [kind(index, f"reason {index}\n") for index in range(7)]
        node = "name of 4" if trt.major >= 10 else "4"
        with pytest.raises(GateFailed, match=rf"cannot take this graph: .*node {node}: reason 4; and 2 more"):
            make(trt, tmp_path)

    def test_what_tensorrt_said_when_it_failed(self, trt, tmp_path):
        trt.build_error = "no implementation for node trunk/stem"
        with pytest.raises(
            GateFailed, match=r"could not build the engine: no implementation for node trunk/stem$"
        ):
            make(trt, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["model.log"]
        assert "[ERROR] no implementation for node trunk/stem\n" in (tmp_path / "model.log").read_text()

    def test_what_tensorrt_said_of_a_build_that_succeeds(self, trt, tmp_path):
        layers = make(trt, tmp_path)
        assert json.loads((tmp_path / "model.layers.json").read_text())["Layers"][: len(layers)] == layers
        assert (tmp_path / "model.log").is_file()

    def test_an_engine_that_ignores_the_precision_does_not_hide_it(self, trt, tmp_path):
        trt.ignores_half = True
        layers = make(trt, tmp_path)
        assert set(summarise(layers, convolution_flops(small.exported(), (1, 64, 64))).flops) == {"fp32"}


class TestProgress:
    def test_phases_where_they_are_reported(self, trt, tmp_path):
        reported = []
        make(trt, tmp_path, report=reported.append)
        building = [line for line in reported if "Building Engine" in line]
        if trt.major >= 10:
            tenths = [f"TensorRT: Building Engine, {tenth}0 %" for tenth in range(1, 10)]
            assert building == ["TensorRT: Building Engine", *tenths]
            assert not any("Tactic" in line for line in reported)
        else:
            assert building == []
            assert "TensorRT: building" in reported

    def test_elapsed_time_where_they_are_not(self, old, tmp_path, monkeypatch):
        ticked = threading.Event()
        monkeypatch.setattr(builder, "report_elapsed", lambda report: report_elapsed(report, tick=0.01))
        old.before_build = lambda _: ticked.wait(10)
        reported = []

        def report(line):
            reported.append(line)
            if "so far" in line:
                ticked.set()

        make(old, tmp_path, report=report)
        assert ticked.is_set()
        count = len(reported)
        threading.Event().wait(0.05)
        assert len(reported) == count, "the watcher goes on after the build"

    def test_nobody_tells_anything_once_the_build_is_over(self):
        begun, reported = threading.Event(), []

        def report(line):
            begun.set()
            threading.Event().wait(0.2)
            reported.append(line)

        with report_elapsed(report, tick=0.01):
            begun.wait(10)
        assert len(reported) == 1

    def test_ctrl_c_inside_a_callback_ends_the_build_in_order(self, ten, tmp_path):
        reported = []

        def report(line):
            reported.append(line)
            if "50 %" in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(ten, tmp_path, report=report)
        assert "50 %" in reported[-1]
        assert [path.name for path in tmp_path.iterdir()] == ["model.log"]


class TestTimingCache:
    def test_it_grows_and_is_read(self, trt, tmp_path):
        path = tmp_path / "kernels.timing"
        make(trt, tmp_path, timing_cache=path)
        first = path.read_text().split("\n")
        assert f"{trt.__version__} {small.STEM}" in first
        path.write_text("\n".join([*first, f"{trt.__version__} from another build"]))
        make(trt, tmp_path, timing_cache=path)
        assert f"{trt.__version__} from another build" in path.read_text()

    def test_what_another_build_wrote_meanwhile_is_kept(self, trt, tmp_path):
        path = tmp_path / "kernels.timing"
        trt.before_build = lambda _: path.write_text(f"{trt.__version__} from a build beside this one")
        make(trt, tmp_path, timing_cache=path)
        assert "from a build beside" in path.read_text()
        assert small.STEM in path.read_text()

    def test_one_of_another_version_is_left_alone_while_building(self, trt, tmp_path):
        path = tmp_path / "kernels.timing"
        path.write_text("7.0.0 of long ago")
        make(trt, tmp_path, timing_cache=path)
        assert trt.config.timing.lines
        assert small.STEM in path.read_text()

    def test_one_that_cannot_be_read_is_replaced(self, trt, tmp_path):
        path = tmp_path / "kernels.timing"
        path.write_text("broken")
        make(trt, tmp_path, timing_cache=path)
        assert small.STEM in path.read_text()
        assert "broken" not in path.read_text()
