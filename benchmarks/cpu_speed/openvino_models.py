"""The plain export and the floor compiled by OpenVINO, and the time of an engine's layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.cpu_speed.profile import LayerTime
from benchmarks.no_dcn import network_alone, without_dcn
from pssdet.engines.backend import Tensors
from pssdet.engines.backends.openvino_cpu import IR
from pssdet.engines.ov.conversion import compute_precision, to_openvino
from pssdet.engines.ov.rules import RULES
from pssdet.engines.ov.session import input_name
from pssdet.models.architecture import ROI_SIZE
from pssdet.models.card import MODEL_ONNX, ModelCard

Shape = tuple[int, ...]


class FixedShapeSession:
    """An ``openvino.Model`` compiled for one shape of its inputs, with OpenVINO's settings but for float32."""

    def __init__(self, model: Any, shapes: Mapping[str, Shape]) -> None:
        self._request = _compiled(model, shapes, "f32").create_infer_request()

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        used = {node: inputs[input_name(node)] for node in self._request.model_inputs}
        results = self._request.infer(used, share_inputs=True, share_outputs=True)
        return {name: value for output, value in results.items() for name in output.get_names()}

    def close(self) -> None:
        """Free the session's memory."""
        self._request = None


def plain_model(model: onnx.ModelProto) -> Any:
    """An export as an ``openvino.Model``, with no more of this project than OpenVINO needs to read it.

    Its reader knows neither local functions, which are inlined, nor ``DeformConv``, which gets the rule of our
    engines: OpenVINO's own operator and a sum for the bias. Nothing else of our conversion is applied.
    """
    import onnx.inliner
    import openvino
    from openvino.frontend.onnx import ConversionExtension

    core = openvino.Core()
    core.add_extension(ConversionExtension("DeformConv", RULES["DeformConv"]))
    return core.read_model(onnx.inliner.inline_local_functions(model).SerializeToString())


def plain_session(folder: Path, shapes: Mapping[str, Shape]) -> FixedShapeSession:
    """The export, as ``plain_model`` reads it."""
    return FixedShapeSession(plain_model(onnx.load(folder / MODEL_ONNX)), shapes)


def floor_session(folder: Path, card: ModelCard, shapes: Mapping[str, Shape]) -> FixedShapeSession:
    """The floor: trunk and heads alone, with plain convolutions in place of the deformable ones.

    It is converted as our engines are.
    """
    model = network_alone(without_dcn(onnx.load(folder / MODEL_ONNX)))
    given = {tensor.name for tensor in model.graph.input}
    batch = shapes["image"][0]
    regions = (batch * card.architecture.post_nms_top_n, card.architecture.fpn_channels, ROI_SIZE, ROI_SIZE)
    return FloorSession(model, {name: shapes.get(name, regions) for name in given})


class FloorSession(FixedShapeSession):
    """As its base, with region features drawn once: no proposals are made that could give them."""

    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> None:
        super().__init__(to_openvino(model), shapes)
        draw = np.random.default_rng(0)
        self._features = {
            name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items() if name != "image"
        }

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        return super().run({**self._features, **inputs})


def layer_times(
    engine: Path,
    inputs: Mapping[str, NDArray[np.float32]],
    runs: int,
    of_runs: Callable[[list[float]], float] = median,
) -> list[LayerTime]:
    """Each executed layer of an engine's IR with its seconds, by default the median of some runs.

    It is compiled as a session compiles it, but with times taken, which slows it down.
    """
    import openvino

    model = openvino.Core().read_model(engine / IR)
    shapes = {name: value.shape for name, value in inputs.items()}
    settings = {"PERF_COUNT": True, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    request = _compiled(model, shapes, compute_precision(model), settings).create_infer_request()
    used = {node: inputs[input_name(node)] for node in request.model_inputs}
    seconds: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for index in range(1 + runs):
        request.infer(used)
        for layer in request.profiling_info if index else ():
            key = (layer.node_name, layer.node_type, layer.exec_type)
            seconds[key].append(layer.real_time.total_seconds())
    return [LayerTime(*layer, of_runs(times)) for layer, times in seconds.items() if max(times) > 0]


def _compiled(
    model: Any, shapes: Mapping[str, Shape], precision: str, more: Mapping[str, object] | None = None
) -> Any:
    import openvino

    model.reshape({node: list(shapes[input_name(node)]) for node in model.inputs})
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1, **(more or {})}
    return openvino.Core().compile_model(model, "CPU", settings)
