"""The network of the stub ``fake_trt_build``: an ONNX model as TensorRT's parser makes layers of it.

Facts are of onnx-tensorrt, 8.6 and 10.1: a layer that is registered has its node's name, and the metadata
``[ONNX Layer: name]``, in 8.6 ``[ONNX Layer: name | doc string]``; further layers of a node have neither.
And of NvInfer.h: what takes no type, or not that one.
"""

import enum
from types import SimpleNamespace

import onnx

from pssdet.engines.trt.graph.types import tensor_types

#: Types of layers (``trt.LayerType``) by ONNX operator; all others are shuffles.
_LAYERS = {
    "ACTIVATION": "Clip LeakyRelu Relu Sigmoid Tanh",
    "CAST": "Cast",
    "CONCATENATION": "Concat",
    "CONSTANT": "Constant",
    "CONVOLUTION": "Conv",
    "DEQUANTIZE": "DequantizeLinear",
    "ELEMENTWISE": "Add And Div Equal Greater GreaterOrEqual Less Max Min Mul Or Pow Sub Sum",
    "GATHER": "Gather GatherElements GatherND",
    "IDENTITY": "Identity",
    "MATRIX_MULTIPLY": "Gemm MatMul",
    "POOLING": "AveragePool MaxPool",
    "QUANTIZE": "QuantizeLinear",
    "REDUCE": "GlobalAveragePool ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
    "RESIZE": "Resize",
    "SELECT": "Where",
    "SHAPE": "Shape",
    "SLICE": "Pad Slice Split",
    "SOFTMAX": "Softmax",
    "TOPK": "TopK",
    "UNARY": "Abs Ceil Exp Floor Log Neg Not Reciprocal Round Sqrt",
}
LAYER_TYPES = {op: kind for kind, ops in _LAYERS.items() for op in ops.split()}
#: Parsers make these of two layers, the second of which, a sum or a reshape, is not registered.
_IN_TWO = {"Gemm": ("ELEMENTWISE", "ElementWise"), "Softmax": ("SHUFFLE", "Shuffle")}


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
_FLOATS = (DataType.FLOAT, DataType.HALF)


class Tensor:
    def __init__(self, name, dtype):
        self.name, self.dtype, self.is_shape_tensor = name, dtype, False


class Layer:
    def __init__(self, network, node, kind, inputs, outputs, name=""):
        self._network, self.node = network, node
        self.name = name or node.name
        self.metadata = "" if name else network.trt.metadata_of(node)
        self.type = SimpleNamespace(name=kind)
        self._inputs, self._outputs = inputs, outputs
        self.held, self.output_types = None, {}

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._inputs[index]

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
        assert self._outputs[index].dtype in _FLOATS, "only floats can be held to a float"
        assert not self._outputs[index].is_shape_tensor, "shape tensors are integers"
        assert (self.type.name, index) != ("TOPK", 1), "the second output of TopK is always Int32"
        self.output_types[index] = dtype

    def _without_kernel(self):
        """Why no kernel can have what was set."""
        floats = [each for each in self._outputs if each.dtype in _FLOATS]
        return self.held is not None and not floats


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
        tensors = {
            value.name: Tensor(value.name, _ONNX_TYPES[types[value.name]]) for value in model.graph.input
        }
        for node in model.graph.node:
            inputs = [tensors[name] for name in node.input if name in tensors]
            if node.op_type == "Identity" and self.trt.renames_identities:
                inputs[0].name = node.output[0]
                tensors[node.output[0]] = inputs[0]
            elif node.name not in self.trt.loses:
                outputs = [Tensor(name, _ONNX_TYPES[types[name]]) for name in node.output]
                self._add(node, inputs, outputs)
                tensors |= zip(node.output, outputs, strict=True)
        self._outputs = [tensors[output.name] for output in model.graph.output if output.name in tensors]

    def _add(self, node, inputs, outputs):
        plugin = self.trt.plugin_type if node.op_type.startswith("PssDet") else None
        kind = plugin or LAYER_TYPES.get(node.op_type, "SHUFFLE")
        if node.op_type not in _IN_TWO:
            self._layers.append(Layer(self, node, kind, inputs, outputs))
            return
        count = len(self._layers)
        between = [Tensor(f"(Unnamed Layer* {count}) [{node.op_type}]_output", outputs[0].dtype)]
        self._layers.append(Layer(self, node, kind, inputs, between))
        second, shown = _IN_TWO[node.op_type]
        name = f"(Unnamed Layer* {count + 1}) [{shown}]"
        self._layers.append(Layer(self, node, second, between, outputs, name))


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
