"""A stub of the building half of TensorRT: it records a builder's settings and writes them into plans.

Names are those of the Python packages 8.6.0, 10.4 and 11.1; the stub lacks what that version lacks. Strictness
is added where TensorRT has it: a network is typed or takes precisions, never both; an inspector knows shapes
only with a context.
"""

import enum
import json
import sys
from types import SimpleNamespace

from fake_trt_inspection import Runtime, described
from fake_trt_network import DataType, NamedParserError, Network, Parser, ParserError

__all__ = ["DataType", "FakeTensorRT", "NamedParserError", "ParserError", "install"]

_FLAGS_8 = "FP16 INT8 DEBUG TF32 OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS VERSION_COMPATIBLE"
_FLAGS_11 = "DEBUG TF32 VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME STRIP_PLAN"


def _enum(name, members):
    return enum.IntEnum(name, members.split(), start=0)


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self):
        self.ready = True


class IProgressMonitor:
    def __init__(self):
        self.ready = True


class Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):  # noqa: A002
        self.shapes[input] = [list(min), list(opt), list(max)]


class TimingCache:
    def __init__(self, content):
        self.lines = set(content.decode().split("\n")) - {""}

    def serialize(self):
        return "\n".join(sorted(self.lines)).encode()

    def combine(self, input_cache, ignore_mismatch):
        assert ignore_mismatch is False
        assert input_cache is not None, "the bindings take no None here"
        self.lines |= input_cache.lines
        return True


class _Config:
    def __init__(self, trt):
        self.trt = trt
        self.flags = {trt.BuilderFlag.TF32}
        self.features = set()
        self.profiles, self.pools, self.timing = [], {}, None
        self.sources = trt.default_sources

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool.name] = pool_size

    def get_preview_feature(self, feature):
        return self.trt.major >= 10 or feature in self.features

    def set_preview_feature(self, feature, enable):
        assert self.trt.major < 10, "always on, and not to be set"
        assert enable
        self.features.add(feature)

    def get_tactic_sources(self):
        return self.sources

    def set_tactic_sources(self, tactic_sources):
        self.sources = tactic_sources
        return True

    def add_optimization_profile(self, profile):
        if self.trt.refuses_profiles:
            return -1
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        broken = serialized_timing_cache.startswith(b"broken")
        return None if broken else TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert cache is not None, "the bindings take no None here"
        if any(not line.startswith(self.trt.__version__) for line in cache.lines) and not ignore_mismatch:
            return False
        self.timing = cache
        return True

    def get_timing_cache(self):
        return self.timing


class Builder:
    def __init__(self, trt, logger):
        assert logger.ready
        self.trt, self.logger = trt, logger

    def create_network(self, flags):
        self.trt.network = Network(self.trt, flags)
        return self.trt.network

    def create_builder_config(self):
        self.trt.config = self.trt.IBuilderConfig(self.trt)
        return self.trt.config

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        trt = self.trt
        if trt.before_build:
            trt.before_build(self)
        if (watcher := getattr(config, "progress_monitor", None)) is not None:
            watcher.phase_start("Building Engine", None, 10)
            watcher.phase_start("Tactic Selection", "Building Engine", 1000)
            for step in range(10):
                if not watcher.step_complete("Building Engine", step):
                    return None
            watcher.phase_finish("Building Engine")
        if trt.build_error:
            self.logger.log(Severity.WARNING, "never mind")
            self.logger.log(Severity.ERROR, trt.build_error)
            return None
        if config.timing is not None:
            config.timing.lines |= {f"{trt.__version__} {layer.name}" for layer in network._layers}
        if impossible := [layer.name for layer in network._layers if layer._without_kernel()]:
            text = f"Could not find any implementation for node {impossible[0]}."
            self.logger.log(Severity.ERROR, text)
            return None
        return json.dumps(_plan(trt, network, config)).encode()


def _plan(trt, network, config):
    compatible = trt.BuilderFlag.VERSION_COMPATIBLE in config.flags
    return {
        "layers": described(network, config),
        "profiles": config.profiles,
        "outputs": [tensor.name for tensor in network._outputs],
        "version": trt.__version__,
        "host_code": compatible,
        "needs_plugins": any(layer.node.op_type.startswith("PssDet") for layer in network._layers),
        # NvInfer.h: "to be serialized with version-compatible engines".
        "carries_plugins": compatible and bool(config.plugins_to_serialize),
    }


class FakeTensorRT(SimpleNamespace):
    """The module ``tensorrt`` of one version; ``network``, ``config`` and ``runtime`` are the latest made.

    A test may make it fail: it ``ignores_constraints`` of nodes, ``loses`` them while parsing, ``fuses`` them
    into a region of its compiler, or lacks the plugins of a plan.
    """

    def __init__(self, version):
        major = int(version.split(".")[0])
        types = {each.name: each for each in DataType if major >= 10 or each is not DataType.INT64}
        sources = "EDGE_MASK_CONVOLUTIONS JIT_CONVOLUTIONS"
        levels = "NONE AMPERE_PLUS" + (" SAME_COMPUTE_CAPABILITY" if major >= 11 else "")
        creation = {8: "EXPLICIT_BATCH EXPLICIT_PRECISION", 10: "EXPLICIT_BATCH STRONGLY_TYPED"}.get(
            major, "STRONGLY_TYPED"
        )
        sharing = "PROFILE_SHARING_0806"
        features = {
            8: f"FASTER_DYNAMIC_SHAPES_0805 DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805 {sharing}",
            10: f"{sharing} ALIASED_PLUGIN_IO_10_03",
            11: "ALIASED_PLUGIN_IO_10_03 RUNTIME_ACTIVATION_RESIZE_10_10",
        }
        settable = {
            "plugins_to_serialize": [],
            "hardware_compatibility_level": None,
            "profiling_verbosity": None,
        }
        if major >= 10:
            settable["progress_monitor"] = None
        super().__init__(
            __version__=version,
            major=major,
            plugin_type="PLUGIN_V2" if major < 10 else "PLUGIN_V3",
            float32=DataType.FLOAT,
            float16=DataType.HALF,
            DataType=SimpleNamespace(**types),
            ILogger=ILogger,
            BuilderFlag=_enum("BuilderFlag", _FLAGS_8 if major < 11 else _FLAGS_11),
            NetworkDefinitionCreationFlag=_enum("NetworkDefinitionCreationFlag", creation),
            TacticSource=_enum("TacticSource", sources if major >= 11 else f"CUBLAS CUBLAS_LT CUDNN {sources}"),
            PreviewFeature=_enum("PreviewFeature", features[major]),
            MemoryPoolType=_enum("MemoryPoolType", "WORKSPACE TACTIC_DRAM"),
            HardwareCompatibilityLevel=_enum("HardwareCompatibilityLevel", levels),
            ProfilingVerbosity=_enum("ProfilingVerbosity", "LAYER_NAMES_ONLY DETAILED NONE"),
            LayerInformationFormat=_enum("LayerInformationFormat", "ONELINE JSON"),
            TensorIOMode=_enum("TensorIOMode", "NONE INPUT OUTPUT"),
            IBuilderConfig=type("IBuilderConfig", (_Config,), settable),
            OnnxParser=Parser,
            default_sources=0b11 if major >= 11 else 0b11011,
            parser_errors=[],
            build_error="",
            before_build=None,
            ignores_half=False,
            ignores_constraints=(),
            fuses=(),
            loses=(),
            renames_identities=False,
            knows_metadata=True,
            has_plugins=True,
            refuses_profiles=False,
            network=None,
            config=None,
            runtime=None,
        )
        self.Builder = lambda logger: Builder(self, logger)
        self.Runtime = lambda logger: Runtime(self, logger)
        if major >= 10:
            self.IProgressMonitor = IProgressMonitor

    def metadata_of(self, node):
        """What the parser writes as metadata of a layer of the node."""
        documented = f" | {node.doc_string}" if node.doc_string and self.major < 10 else ""
        return f"[ONNX Layer: {node.name}{documented}]" if self.knows_metadata else ""


def install(monkeypatch, version):
    """The fake as what ``import tensorrt`` gives."""
    fake = FakeTensorRT(version)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake
