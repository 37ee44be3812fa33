"""One call of an ONNX function as a model of its own, in ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from pssdet.export.tracing import DOMAIN, IR_VERSION, OPSET

_TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int32): TensorProto.INT32}


class SingleCall:
    """The function with these attributes; every dimension is open, so that one session runs any shape."""

    def __init__(self, function, attributes):
        self.function = function
        self.attributes = attributes
        self.session = None

    def __call__(self, *arrays):
        """The function's outputs for its inputs in order."""
        names = list(self.function.input)
        if self.session is None:
            self.session = self._session(names, arrays)
        return self.session.run(None, dict(zip(names, arrays, strict=True)))

    def _session(self, names, arrays):
        outputs = list(self.function.output)
        graph = helper.make_graph(
            [helper.make_node(self.function.name, names, outputs, domain=DOMAIN, **self.attributes)],
            "call",
            [
                helper.make_tensor_value_info(name, _TYPES[x.dtype], [None] * x.ndim)
                for name, x in zip(names, arrays, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
            functions=[self.function],
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the tensors are tiny
        options.log_severity_level = 4  # an exception says what went wrong
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
