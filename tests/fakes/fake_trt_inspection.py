"""The inspecting half of the stub ``fake_trt_build``: it describes a plan's layers and runs nothing.

Texts are of NVIDIA's own examples of engines (tools/experimental/trt-engine-explorer) and of layers that others
publish: of 8.x "Row major linear FP32" and regions called ``{ForeignNode[first...last]}``, of 10 "Half(64,1:8)"
and the kernels of a region, whose names end in ``_myl1_2``; metadata of nodes is joined by a control sign.
"""

import json

import onnx

_SHOWN = {
    "ACTIVATION": "Activation",
    "CONVOLUTION": "CaskConvolution",
    "ELEMENTWISE": "ElementWise",
    "MATRIX_MULTIPLY": "MatrixMultiply",
    "PLUGIN_V2": "PluginV2",
    "PLUGIN_V3": "PluginV3",
    "REDUCE": "Reduce",
    "SELECT": "Select",
    "SHUFFLE": "Shuffle",
    "SLICE": "Slice",
    "SOFTMAX": "CudaSoftMax",
    "TOPK": "TopK",
    "UNARY": "Unary",
}


def described(network, config):
    """What the inspector will say of the layers of a plan."""
    trt = network.trt
    fused = [layer for layer in network._layers if layer.node.name in trt.fuses]
    single = [_described(layer, network, config) for layer in network._layers if layer not in fused]
    return single + ([_region(fused, trt.major)] if fused else [])


def _region(layers, major):
    """A region of TensorRT's compiler: its tensors are half, whatever it computes in between."""
    text = "Row major linear FP16" if major < 10 else "Half(Half:x)"
    tensor = {"Name": "edge", "Format/Datatype": text}
    name = f"{{ForeignNode[{layers[0].name}...{layers[-1].name}]}}" if major < 10 else "__myl_MulAddExp_myl1_2"
    return {
        "Name": name,
        "LayerType": "Myelin" if major < 10 else "kgen",
        "Inputs": [tensor],
        "Outputs": [dict(tensor)],
        "Metadata": ("\x1e" if major < 10 else "\x1f").join(layer.metadata for layer in layers),
    }


def _described(layer, network, config):
    trt, op = network.trt, layer.node.op_type
    convolution = op in {"Conv", "PssDetDeformConv2d"}
    if network.typed:
        weights = {tensor.name: tensor.data_type for tensor in network.model.graph.initializer}
        half = convolution and weights.get(layer.node.input[1]) == onnx.TensorProto.FLOAT16
    else:
        held = (layer.held or layer.output_types) and layer.node.name not in trt.ignores_constraints
        half = getattr(trt.BuilderFlag, "FP16", None) in config.flags and not held
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
        "LayerType": _SHOWN.get(layer.type.name, "Misc"),
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


class Runtime:
    def __init__(self, trt, logger):
        assert logger.ready
        self.trt, self.logger = trt, logger
        if trt.major >= 8:
            self.engine_host_code_allowed = False
        trt.runtime = self

    def deserialize_cuda_engine(self, serialized_engine):
        plan = json.loads(serialized_engine)
        if plan["needs_plugins"] and not (plan["carries_plugins"] or self.trt.has_plugins):
            self.logger.log(self.trt.ILogger.ERROR, "could not find plugin PssDetDeformConv2d version 1")
            return None
        if plan["host_code"] and not self.engine_host_code_allowed:
            self.logger.log(self.trt.ILogger.ERROR, "version compatible plan while host code is not allowed")
            return None
        return (Engine if self.trt.major < 10 else NewEngine)(self.trt, plan)


class Engine:
    def __init__(self, trt, plan):
        self.trt, self.plan = trt, plan
        self._names = [*plan["profiles"][0], *plan["outputs"]]

    num_io_tensors = property(lambda self: len(self._names))

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return self.trt.TensorIOMode.INPUT if name in self.plan["profiles"][0] else self.trt.TensorIOMode.OUTPUT

    def create_execution_context(self):
        return Context(self.plan["profiles"][0])

    def create_engine_inspector(self):
        return Inspector(self)


class NewEngine(Engine):
    """As since version 10."""

    def create_execution_context(self, strategy=None):
        assert strategy is None
        return super().create_execution_context()


class Context:
    def __init__(self, profile):
        self._profile, self.shapes = profile, {}

    def set_input_shape(self, name, shape):
        low, _, high = self._profile[name]
        assert all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self.shapes[name] = shape
        return True

    def _sized(self):
        return set(self.shapes) == set(self._profile)


class Inspector:
    def __init__(self, engine):
        self._engine, self.execution_context = engine, None

    def get_engine_information(self, format):  # noqa: A002
        assert format == self._engine.trt.LayerInformationFormat.JSON
        layers = json.loads(json.dumps(self._engine.plan["layers"]))
        if self.execution_context is None or not self.execution_context._sized():
            layers = [_unsized(layer) for layer in layers]
        # The layers of the other profiles, of which the context knows no sizes.
        others = [
            {**_unsized(layer), "Name": f"{layer['Name']} [profile {number}]"}
            for number in range(1, len(self._engine.plan["profiles"]))
            for layer in json.loads(json.dumps(layers))
        ]
        return json.dumps({"Layers": layers + others, "Bindings": []})


def _unsized(layer):
    for tensor in layer["Inputs"] + layer["Outputs"]:
        tensor["Format/Datatype"] = "N/A due to dynamic shapes"
    return layer
