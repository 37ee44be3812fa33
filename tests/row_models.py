"""A detector of the zoo in Paddle, ONNX Runtime and OpenVINO, with the parameters of its stored cases."""

from contextlib import closing

import numpy as np
import onnx
from onnx import numpy_helper
from reference import DATA, ROWS
from static_parameters import static_parameters

from pssdet.engines.onnx_runtime_session import OnnxRuntimeSession
from pssdet.engines.ov.conversion import save_ir, to_openvino
from pssdet.engines.ov.session import OpenVinoSession
from pssdet.models.checkpoint_formats.parameter_names import to_structured
from pssdet.models.parameters import load_parameters
from pssdet.models.stages import tap_names
from pssdet.models.zoo import find

#: Rows of the static program.
STATIC = (1, 2, 3)


class RowModel:
    """All forms give every stage; the background logit of every head can be shifted, as some cases want it."""

    def __init__(self, entry, model, exported, folder):
        self.entry = entry
        self.model = model
        self.onnx = exported
        self._folder = folder
        self._biases = {
            name: tensor
            for name, tensor in model.state_dict().items()
            if "bbox_score" in name and "bias" in name
        }
        self._values = {name: tensor.numpy() for name, tensor in self._biases.items()}
        self._sessions = {}
        self._taps = tap_names(entry.architecture)

    def run_paddle(self, inputs, shift=0.0):
        import paddle

        from pssdet.models.network.reference_run import run_reference

        try:
            for name, value in self._shifted(shift).items():
                self._biases[name].set_value(paddle.to_tensor(value))
            return run_reference(self.model, inputs)
        finally:
            for name, value in self._values.items():
                self._biases[name].set_value(paddle.to_tensor(value))

    def run_onnx(self, inputs, shift=0.0):
        if shift not in self._sessions:
            path = self._folder / f"shifted-{shift}.onnx"
            onnx.save(self._with_shift(shift), path)
            self._sessions[shift] = OnnxRuntimeSession(path, self._taps, cuda=False)
        return self._sessions[shift].run(inputs)

    def run_openvino(self, inputs, shift=0.0):
        path = self._folder / f"shifted-{shift}.xml"
        if not path.exists():
            save_ir(to_openvino(self._with_shift(shift), self._taps), path, "f32")
        # Closed after each case: every size has a compiled model, with its own copy of the parameters.
        with closing(OpenVinoSession(path, self._taps)) as session:
            return session.run(inputs)

    def _with_shift(self, shift):
        values = self._shifted(shift)
        for tensor in self.onnx.graph.initializer:
            if tensor.name in values:
                tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
        return self.onnx

    def _shifted(self, shift):
        background = 0 if self.entry.numerics.background == "first" else -1
        values = {name: value.copy() for name, value in self._values.items()}
        for bias in values.values():
            bias[background] += np.float32(shift)
        return values


def row_model(row, folder, exported=None):
    """A row with the parameters of its stored cases, or a bundled detector, by its name, with its own.

    exported: its file, as ``write_row`` or the pipeline makes it; without one it is converted here.
    """
    entry, model = _detector(row)
    return RowModel(entry, model, onnx.load(exported or write_row(row, folder)), folder)


def write_row(row, folder):
    """Its model.onnx, converted without the verification that a user's export goes through."""
    from pssdet.export.pipeline import DetectorExport

    onnx.save(DetectorExport(*_detector(row)).convert()[0], folder / "model.onnx")
    return folder / "model.onnx"


def _detector(row):
    from pssdet.models.network.detector import TwoStageDetector
    from pssdet.models.network.reference_run import parameter_shapes, with_parameters

    entry = ROWS[row] if row in ROWS else find(row)
    model = TwoStageDetector(entry.architecture, entry.numerics)
    with_parameters(model, _parameters(entry, parameter_shapes(model)))
    return entry, model


def _parameters(entry, shapes):
    if entry.row in STATIC:
        parameters, ignored = to_structured(static_parameters(entry.row, DATA))
        assert ignored == 0
        return parameters
    return load_parameters("none" if entry.row else entry.checkpoint, shapes)[0]
