"""OpenVINO's IR on a CPU: compiled for each of the first shapes of pictures, and once for all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import AUTOMATIC, Tensors, Threading
from pssdet.engines.ov.compiled_models import CompiledModels
from pssdet.engines.ov.conversion import compute_precision, reason_of
from pssdet.errors import BadInput, EnvironmentMissing, GateFailed

#: Shapes that get a compiled model of their own, in the order in which they come, since each has memory of
#: its own too. All others share one of dynamic shape, which computes the same but for the last digits. A run
#: of it takes some milliseconds more, to compile for a shape takes as long as dozens of pictures of a small
#: network. Quantised models have the one of dynamic shape only: a difference in the last digit before a
#: quantisation becomes a whole step, so that results would depend on the shapes that came before.
OWN = 4

#: A compiled model's shape [N, 3, H, W]; None: any shape.
_Shape: TypeAlias = "tuple[int, ...] | None"

_DEVICE = "CPU"


class _Compiled(NamedTuple):
    model: Any  # openvino.CompiledModel
    idle: list[Any]  # openvino.InferRequest


@dataclass(frozen=True, eq=False)
class _Request:
    compiled: _Compiled
    infer: Any  # openvino.InferRequest
    inputs: Mapping[Any, NDArray[np.float32]]  # its memory, which must live as long as the request runs


class OpenVinoSession:
    """A session on a CPU; inputs that the graph does not use are skipped.

    Attributes:
        depth: batches on their way at once: twice the streams, so that none waits while results, which come in
            order, are held up by a batch that takes longer.
        batch: see ``Pipelined``.

    Args:
        ir: the XML file that ``save_ir`` wrote; its weights lie beside it.
        taps: intermediate tensors to return beside the outputs.
        cached: keep what is compiled on disk, where the next session finds it.

    Raises:
        BadInput: OpenVINO cannot read the IR.
        EnvironmentMissing: this CPU does not compute in the precision.
        GateFailed: OpenVINO cannot compile the model, which the first batch of a shape may show.
    """

    batch = 1

    def __init__(
        self,
        ir: Path,
        taps: Sequence[str] = (),
        threading: Threading = AUTOMATIC,
        *,
        cached: bool = False,
    ) -> None:
        import openvino

        self._core = openvino.Core()
        try:
            self._model: Any = self._core.read_model(ir)
            precision = compute_precision(self._model)
        except RuntimeError as error:
            raise BadInput(
                f"OpenVINO cannot read {ir} ({reason_of(error)}); build the engine again with this OpenVINO"
            ) from error
        present = {name for output in self._model.outputs for name in output.get_names()}
        if missing := [name for name in taps if name not in present]:
            self._model.add_outputs(missing)
        streams = threading.chosen_streams()
        self._settings: dict[str, bool | int | str] = {
            "INFERENCE_PRECISION_HINT": precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threading.threads,
            # Only where one stream uses all cores: each compiled model, and each process, pins its first
            # thread to the same core, so that others would share one while another core is idle.
            "ENABLE_CPU_PINNING": streams == 1 and not threading.threads,
        }
        self._cache = CompiledModels(ir, self._settings) if cached else None
        quantised = any(node.get_type_name() == "FakeQuantize" for node in self._model.get_ops())
        self._own = 0 if quantised else OWN
        self._compiled: dict[_Shape, _Compiled] = {}
        self._running: set[_Request] = set()
        self._lock = Lock()
        self.depth = 2 * streams

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        return self.collect(self.submit(inputs))

    def submit(self, inputs: Mapping[str, NDArray[np.float32]]) -> _Request:
        """Start a batch; see ``Pipelined``."""
        with self._lock:
            compiled = self._compiled_for(inputs["image"].shape)
            infer = compiled.idle.pop() if compiled.idle else compiled.model.create_infer_request()
            given = {node: np.ascontiguousarray(inputs[input_name(node)]) for node in compiled.model.inputs}
            request = _Request(compiled, infer, given)
            infer.start_async(given, share_inputs=True)
            self._running.add(request)
        return request

    def collect(self, request: _Request) -> Tensors:
        """The outputs of a batch; see ``Pipelined``."""
        try:
            request.infer.wait()
        except RuntimeError:
            with self._lock:
                self._running.discard(request)
            raise
        outputs = request.infer.results.items()
        results = {name: np.array(value) for output, value in outputs for name in output.get_names()}
        with self._lock:
            self._running.discard(request)
            request.compiled.idle.append(request.infer)
        return results

    def compiled(self, shape: _Shape) -> Any:
        """The ``openvino.CompiledModel`` for pictures [N, 3, H, W] of that shape; None: that of any."""
        with self._lock:
            return self._compiled_for(shape).model

    def close(self) -> None:
        """Free the session's memory, after the batches that were submitted."""
        with self._lock:
            self._model = None
            for request in self._running:
                with suppress(RuntimeError):  # that of ``collect``
                    request.infer.wait()
            self._running.clear()
            self._compiled.clear()

    def _compiled_for(self, shape: _Shape) -> _Compiled:
        if self._model is None:
            raise ValueError("the session is closed")
        own = shape in self._compiled or len(self._compiled.keys() - {None}) < self._own
        key = shape if own else None
        if key not in self._compiled:
            self._compiled[key] = _Compiled(self._compile(key), [])
        return self._compiled[key]

    def _compile(self, shape: _Shape) -> Any:
        compiled = self._cache.load(self._core, _DEVICE, shape) if self._cache else None
        if compiled is None:
            compiled = self._newly_compiled(shape)
            if self._cache is not None:
                self._cache.store(compiled, shape)
        asked = self._settings["INFERENCE_PRECISION_HINT"]
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if got != asked:
            raise EnvironmentMissing(f"OpenVINO computes in {got} here, {asked} was asked for; build it again")
        return compiled

    def _newly_compiled(self, shape: _Shape) -> Any:
        model = self._model.clone()
        if shape is not None:
            sizes = {node: shape if input_name(node) == "image" else (shape[0], 2) for node in model.inputs}
            model.reshape(sizes)
        try:
            return self._core.compile_model(model, _DEVICE, self._settings)
        except RuntimeError as error:
            raise GateFailed(f"OpenVINO cannot compile the model ({reason_of(error)})") from error


def input_name(node: Any) -> str:
    """The ONNX name of a model's input, which an unused input has no other trace of."""
    name: str = node.get_node().get_friendly_name()
    return name
