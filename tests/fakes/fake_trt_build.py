"""A stub of the building half of TensorRT: it records a builder's settings and writes them into plans.

Names are those of the Python packages 8.6.0, 10.4 and 11.1; the stub lacks what that version lacks. Strictness
is added where TensorRT has it: a network is typed or takes precisions, never both; an inspector knows shapes
only with a context.
"""

import enum
import json
import sys
from types import SimpleNamespace

import onnx
from fake_trt_inspection import Runtime

from pssdet.engines.trt.graph.types import tensor_types

_FLAGS_8 = "FP16 INT8 DEBUG TF32 OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS VERSION_COMPATIBLE"
_FLAGS_11 = "DEBUG TF32 VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME STRIP_PLAN"
_TYPES = {
    "Conv": "CONVOLUTION",
    "Relu": "ACTIVATION",
    "Shape": "SHAPE",
    "Constant": "CONSTANT",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
}


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


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, INT64, BOOL = range(6)


_ONNX_TYPES = {
    1: DataType.FLOAT,
    10: DataType.HALF,
    3: DataType.INT8,
    6: DataType.INT32,
    7: DataType.INT64,
    9: DataType.BOOL,
}


class Tensor:
    def __init__(self, name, dtype):
        self.name, self.dtype, self.is_shape_tensor = name, dtype, False


class Layer:
    def __init__(self, network, node, types):
        self._network, self.node = network, node
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.name}]" if network.trt.knows_metadata else ""
        plugin = network.trt.plugin_type if node.op_type.startswith("PssDet") else None
        self.type = SimpleNamespace(name=plugin or _TYPES.get(node.op_type, "SHUFFLE"))
        self._outputs = [Tensor(name, _ONNX_TYPES[types[name]]) for name in node.output]
        self.held, self.output_types = None, {}

    num_outputs = property(lambda self: len(self._outputs))

    def get_output(self, index):
        return self._outputs[index]

    @property
    def precision(self):
        return self.held

    @precision.setter
    def precision(self, value):
        assert not self._network.typed, "a strongly typed network takes no precisions"
        self.held = value

    def set_output_type(self, index, dtype):
        assert not self._network.typed, "a strongly typed network takes no output types"
        assert self._outputs[index].dtype in (DataType.FLOAT, DataType.HALF), (
            "only floats can be held to a float"
        )
        self.output_types[index] = dtype


class Network:
    def __init__(self, trt, flags):
        self.trt, self.flags = trt, flags
        creation = trt.NetworkDefinitionCreationFlag
        strongly = getattr(creation, "STRONGLY_TYPED", None)
        self.typed = trt.major >= 11 or (strongly is not None and bool(flags >> int(strongly) & 1))
        self.model, self._layers, self._outputs = None, [], []

    num_layers = property(lambda self: len(self._layers))
    num_outputs = property(lambda self: len(self._outputs))
    num_inputs = property(lambda self: len(self.model.graph.input))

    def get_layer(self, index):
        return self._layers[index]

    def get_output(self, index):
        return self._outputs[index]

    def get_input(self, index):
        return SimpleNamespace(name=self.model.graph.input[index].name)

    def mark_output(self, tensor):
        self._outputs.append(tensor)

    def _fill(self, model):
        types = tensor_types(model)
        self.model = model
        self._layers = [Layer(self, node, types) for node in model.graph.node]
        tensors = {tensor.name: tensor for layer in self._layers for tensor in layer._outputs}
        self._outputs = [tensors[output.name] for output in model.graph.output]


class ParserError:
    def __init__(self, node, text):
        self._node, self._text = node, text

    def node(self):
        return self._node

    def desc(self):
        return self._text


class NamedParserError(ParserError):
    """As since version 10."""

    def node_name(self):
        return f"name of {self._node}"


class Parser:
    def __init__(self, network, logger):
        assert logger.ready
        self._network, self._errors = network, network.trt.parser_errors

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        if not self._errors:
            self._network._fill(onnx.ModelProto.FromString(model))
        return not self._errors


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
        layers = [_described(layer, network, config) for layer in network._layers]
        outputs = [tensor.name for tensor in network._outputs]
        plan = {"layers": layers, "profiles": config.profiles, "outputs": outputs, "version": trt.__version__}
        return json.dumps(plan).encode()


def _described(layer, network, config):
    """What the inspector will say of a layer."""
    trt, op = network.trt, layer.node.op_type
    convolution = op in {"Conv", "PssDetDeformConv2d"}
    if network.typed:
        weights = {tensor.name: tensor.data_type for tensor in network.model.graph.initializer}
        half = convolution and weights.get(layer.node.input[1]) == onnx.TensorProto.FLOAT16
    else:
        half = getattr(trt.BuilderFlag, "FP16", None) in config.flags and layer.held is None
    half = half and not trt.ignores_half
    eight = (
        convolution
        and _is_quantised(layer.node, network)
        and (network.typed or trt.BuilderFlag.INT8 in config.flags)
    )
    kind = ("Half" if half else "Float") if trt.major >= 10 else ("FP16" if half else "FP32")
    if eight:
        kind = "Int8"
    text = f"Row major linear {kind}" if trt.major < 10 else f"{kind}({kind}:x)"
    described = {
        "Name": f"{layer.name} + {layer.name}.fused" if convolution else layer.name,
        "LayerType": "CaskConvolution" if op == "Conv" else "PluginV2" if op.startswith("PssDet") else "Misc",
        "Inputs": [{"Name": name, "Format/Datatype": text} for name in layer.node.input[:1]],
        "Outputs": [{"Name": name, "Format/Datatype": text} for name in layer.node.output],
        "Metadata": layer.metadata,
    }
    if op == "Conv":
        described["Weights"] = {"Type": "Int8" if eight else "Half" if half else "Float", "Count": 1}
    return described


def _is_quantised(node, network):
    """Whether what the node reads was rounded to 8 bits just before."""
    makers = {name: each.op_type for each in network.model.graph.node for name in each.output}
    return makers.get(node.input[0]) == "DequantizeLinear"


class FakeTensorRT(SimpleNamespace):
    """The module ``tensorrt`` of one version; ``network``, ``config`` and ``runtime`` are the latest made."""

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
            knows_metadata=True,
            refuses_profiles=False,
            network=None,
            config=None,
            runtime=None,
        )
        self.Builder = lambda logger: Builder(self, logger)
        self.Runtime = lambda logger: Runtime(self, logger)
        if major >= 10:
            self.IProgressMonitor = IProgressMonitor


def install(monkeypatch, version):
    """The fake as what ``import tensorrt`` gives."""
    fake = FakeTensorRT(version)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake
