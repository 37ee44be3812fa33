"""Engines of one layer: the plugins, and a convolution to tell TensorRT's faults from theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pssdet.engines.trt.plan.inspector import layer_precision
from pssdet.engines.trt.profiles import ShapeRange
from pssdet.engines.trt.runtime.session import TensorRTSession
from pssdet.plugins.bindings.libraries import find_plugins
from pssdet.validation.gpu_check import engines
from pssdet.validation.gpu_check.bundle import Bundle
from pssdet.validation.gpu_check.deform_conv import LIMITS, convolve, relative_error
from pssdet.validation.gpu_check.detection import SHAPES, compared, setting_of
from pssdet.validation.gpu_check.detection_cases import Tensors, computed, drawn_inputs, single_call
from pssdet.validation.gpu_check.engines import LayerProfile
from pssdet.validation.gpu_check.launches import draw, sigmoid
from pssdet.validation.gpu_check.plan import LAYERS, Findings, Given
from pssdet.validation.gpu_check.shapes import Problem

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("fp32", "fp16")
_CHANNELS = 64


@dataclass(frozen=True)
class LayerCase:
    """A layer as an exported model of its own.

    Attributes:
        inputs: of a batch and a size (height, width), exact in half precision; ``expected`` their outputs.
        compare: what is wrong of outputs, given those expected and the precision.
    """

    model: onnx.ModelProto
    inputs: Callable[[int, tuple[int, int]], Tensors]
    expected: Callable[[Tensors], Tensors]
    compare: Callable[[Tensors, Tensors, str], list[str]]

    def profile(self) -> LayerProfile:
        """One that takes all ``SHAPES``."""
        drawn = [self.inputs(*shape) for shape in SHAPES]
        ranges = {}
        for name in drawn[0]:
            shapes = np.array([each[name].shape for each in drawn])
            low, high = (tuple(map(int, limit)) for limit in (shapes.min(axis=0), shapes.max(axis=0)))
            ranges[name] = ShapeRange(low, high, high)
        return LayerProfile((1, 32, 32), (1, 32, 32), (1, 32, 32), ranges)


def build(given: Given) -> Findings:
    """Build and write the engine in both precisions."""
    case = layer_case(given.argument, given.bundles)
    figures: dict[str, Any] = {}
    for precision in PRECISIONS:
        plan = _plan(given, precision)
        built = engines.build(
            case.model,
            plan,
            (case.profile(),),
            fp32=() if precision == "fp16" else None,
            plugins=_library(given),
            typed=True,
        )
        layers = [f"{layer.get('LayerType', '?')} in {layer_precision(layer)}" for layer in built.plan.layers]
        figures[precision] = {"seconds": built.seconds, "route": built.route, "layers": layers}
    return Findings(figures)


def run(given: Given) -> Findings:
    """Run the engines in this new process: two shapes, one of them a batch, directly and as a CUDA graph."""
    case = layer_case(given.argument, given.bundles)
    failures = []
    for precision in PRECISIONS:
        with TensorRTSession(_plan(given, precision), plugins=_library(given)) as session:
            for batch, size in SHAPES:
                inputs = case.inputs(batch, size)
                given_inputs = {name: values.astype(np.float32) for name, values in inputs.items()}
                # The second run records the graph that the third launches.
                first, *others = (session.run(given_inputs) for _ in range(3))
                failed = case.compare(case.expected(inputs), first, precision)
                if any(first[name].tobytes() != other[name].tobytes() for other in others for name in first):
                    failed.append("its CUDA graph gives something else")
                failures += [f"{precision}, {batch} of {size}: {each}" for each in failed]
            if session.graph_fallback:
                failures.append(f"{precision}: {session.graph_fallback}")
    return Findings({"runs": 3 * len(SHAPES) * len(PRECISIONS)}, failures)


def layer_case(name: str, bundles: Path) -> LayerCase:
    """The layer of a step; ``EnvironmentMissing`` if it needs a bundle that is not there."""
    if name in LAYERS[:2]:
        return _convolution(deformed=name == "deform-conv")
    kernel = name.replace("-", "_")
    model = Bundle(bundles / "mini").model()
    setting = setting_of(model)

    def inputs(batch: int, size: tuple[int, int]) -> Tensors:
        return drawn_inputs(setting.at(size), kernel, batch, half=True)

    call = single_call(model, setting.at(SHAPES[0][1]), kernel, inputs(*SHAPES[0]))
    return LayerCase(
        call,
        inputs,
        lambda tensors: computed(call, tensors),
        lambda expected, obtained, precision: compared(kernel, expected, obtained, precision),
    )


def _convolution(*, deformed: bool) -> LayerCase:
    """A 3x3 convolution, deformable or not, of maps an eighth as large as a picture."""
    weights = draw(_problem(1, SHAPES[0][1]), "near", 0)

    def inputs(batch: int, size: tuple[int, int]) -> Tensors:
        drawn = draw(_problem(batch, size), "near", batch)
        plain = {"x": drawn.x}
        return {**plain, "offset": drawn.offset, "mask": sigmoid(drawn.mask)} if deformed else plain

    def expected(tensors: Tensors) -> Tensors:
        batch, _, height, width = tensors["x"].shape
        problem = _problem(batch, (8 * height, 8 * width))
        offset = tensors.get("offset", np.zeros((batch, 2 * problem.taps, height, width)))
        mask = tensors.get("mask", np.ones((batch, problem.taps, height, width)))
        parts = (tensors["x"], offset, mask, weights.weight, weights.bias)
        return {"y": convolve(problem, *(part.astype(np.float64) for part in parts))}

    def compare(wanted: Tensors, obtained: Tensors, precision: str) -> list[str]:
        # Kernels of TensorRT may sum in half precision, ours never do.
        limit = LIMITS[precision == "fp16"] * (1 if deformed else 10)
        error = relative_error(obtained["y"], wanted["y"])
        return [] if error <= limit else [f"relative error {error:.1e}, the limit is {limit:.0e}"]

    return LayerCase(
        _convolution_model(weights.weight, weights.bias, deformed=deformed), inputs, expected, compare
    )


def _problem(batch: int, size: tuple[int, int]) -> Problem:
    return Problem(batch, _CHANNELS, size[0] // 8, size[1] // 8, _CHANNELS)


def _convolution_model(weight: Any, bias: Any, *, deformed: bool) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    channels = {"x": _CHANNELS, "offset": 18, "mask": 9} if deformed else {"x": _CHANNELS}
    read = ["x", "w", "offset", "b", "mask"] if deformed else ["x", "w", "b"]
    operator = "DeformConv" if deformed else "Conv"
    node = helper.make_node(
        operator, read, ["y"], name=f"trunk/{operator}_0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]
    )
    graph = helper.make_graph(
        [node],
        operator,
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, c, None, None])
            for n, c in channels.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, _CHANNELS, None, None])],
        [numpy_helper.from_array(values, name) for name, values in (("w", weight), ("b", bias))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _plan(given: Given, precision: str) -> Path:
    return given.work / f"{given.argument}-{precision}.plan"


def _library(given: Given) -> Path | None:
    return None if given.argument == LAYERS[0] else find_plugins()
