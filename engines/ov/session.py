"""OpenVINO's IR on a CPU: one compiled model for each shape of the pictures, the latest of which are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import AUTOMATIC, Tensors, Threading
from pssdet.engines.ov.conversion import compute_precision
from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.files import engine_cache

#: Compiled models that a session keeps; each has its own copy of the weights, in the layout of its kernels.
KEPT = 4

_DEVICE = "CPU"


class _Request(NamedTuple):
    shape: tuple[int, ...]
    infer: Any  # openvino.InferRequest
    inputs: Mapping[Any, NDArray[np.float32]]  # its memory, which must live as long as the request runs


class OpenVinoSession:
    """A session on a CPU; inputs that the graph does not use are skipped.

    Attributes:
        depth: batches on their way at once: one more than the streams, so that none of them waits.

    Args:
        ir: the XML file that ``save_ir`` wrote; its weights lie beside it.
        taps: intermediate tensors to return beside the outputs.

    Raises:
        EnvironmentMissing: this CPU does not compute in the precision.
        GateFailed: OpenVINO cannot compile the model, which the first batch of a shape may show.
    """

    def __init__(self, ir: Path, taps: Sequence[str] = (), threading: Threading = AUTOMATIC) -> None:
        import openvino

        self._core = openvino.Core()
        self._model: Any = self._core.read_model(ir)
        present = {name for output in self._model.outputs for name in output.get_names()}
        if missing := [name for name in taps if name not in present]:
            self._model.add_outputs(missing)
        streams = threading.streams or 1
        self._settings = {
            "INFERENCE_PRECISION_HINT": compute_precision(self._model),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threading.threads,
            "CACHE_DIR": str(engine_cache() / "openvino"),
        }
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._idle: dict[tuple[int, ...], list[Any]] = {}
        self._lock = Lock()
        self.depth = streams + 1

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Mapping[str, NDArray[np.float32]]) -> _Request:
        """Start a batch; see ``Pipelined``."""
        shape = inputs["image"].shape
        with self._lock:
            compiled = self._compiled_for(shape)
            idle = self._idle[shape]
            infer = idle.pop() if idle else compiled.create_infer_request()
        given = {node: np.ascontiguousarray(inputs[_name_of(node)]) for node in compiled.inputs}
        infer.start_async(given, share_inputs=True)
        return _Request(shape, infer, given)

    def collect(self, request: _Request) -> Tensors:
        """The outputs of a batch; see ``Pipelined``."""
        request.infer.wait()
        outputs = request.infer.results.items()
        results = {name: np.array(value) for output, value in outputs for name in output.get_names()}
        with self._lock:
            if request.shape in self._idle:
                self._idle[request.shape].append(request.infer)
        return results

    def compiled(self, shape: tuple[int, ...]) -> Any:
        """The ``openvino.CompiledModel`` for pictures [N, 3, H, W] of that shape."""
        with self._lock:
            return self._compiled_for(shape)

    def close(self) -> None:
        """Free the session's memory."""
        with self._lock:
            self._model = None
            self._compiled.clear()
            self._idle.clear()

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        if self._model is None:
            raise ValueError("the session is closed")
        if shape not in self._compiled:
            while len(self._compiled) >= KEPT:
                oldest, _ = self._compiled.popitem(last=False)
                del self._idle[oldest]
            self._compiled[shape], self._idle[shape] = self._compile(shape), []
        self._compiled.move_to_end(shape)
        return self._compiled[shape]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        model = self._model.clone()
        model.reshape({node: shape if _name_of(node) == "image" else (shape[0], 2) for node in model.inputs})
        try:
            compiled = self._core.compile_model(model, _DEVICE, self._settings)
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[-1]
            raise GateFailed(f"OpenVINO cannot compile the model ({reason})") from error
        asked = self._settings["INFERENCE_PRECISION_HINT"]
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if got != asked:
            raise EnvironmentMissing(f"OpenVINO computes in {got} here, {asked} was asked for; build it again")
        return compiled


def _name_of(node: Any) -> str:
    """The ONNX name of an input, which an unused input has no other trace of."""
    name: str = node.get_node().get_friendly_name()
    return name
