"""Paddle layers to plain ONNX graphs by paddle2onnx, which aborts the process when it fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import paddle
from paddle import Tensor, nn

from pssdet.errors import EnvironmentMissing, GateFailed
from pssdet.export.simplify import rename
from pssdet.export.tracing import OPSET
from pssdet.models.architecture import ROI_SIZE
from pssdet.models.network import detector, layers

_CHILD = "from paddle2onnx import export; import sys; export(*sys.argv[1:4], opset_version=int(sys.argv[4]))"


class _Function(nn.Layer):  # type: ignore[misc]
    """A layer of one input around a method of the detector; tracing wants its argument called self."""

    def __init__(self, owner: nn.Layer, call: Callable[[Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.owner = owner
        self.call = call

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.call(x)


def convert_trunk(model: detector.TwoStageDetector) -> onnx.ModelProto:
    """Image to every map of ``TwoStageDetector.trunk``, outputs in its order; N, H, W dynamic."""
    layer = _Function(model, lambda image: list(model.trunk(image).values()))
    return _convert(layer, [None, 3, None, None])


def convert_head(model: detector.TwoStageDetector, head: int) -> onnx.ModelProto:
    """Region features [R, C, 7, 7] to one head's class logits and box deltas; R dynamic."""
    layer = _Function(model, lambda features: list(model.bbox_head(features, head)))
    return _convert(layer, [None, model.arch.fpn_channels, ROI_SIZE, ROI_SIZE])


def convert_classifier(model: layers.Classifier) -> onnx.ModelProto:
    """Image to every stage of ``Classifier``, outputs in their order; N, H, W dynamic."""
    layer = _Function(model, lambda image: list(model(image).values()))
    return _convert(layer, [None, 3, None, None])


def _convert(layer: nn.Layer, shape: list[int | None]) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        model = _run_paddle2onnx(layer, shape, Path(folder) / "model")
    _name_parameters(model.graph, {tensor.name: name for name, tensor in layer.owner.state_dict().items()})
    return model


def _run_paddle2onnx(layer: nn.Layer, shape: list[int | None], prefix: Path) -> onnx.ModelProto:
    # No control flow depends on tensors, so the source is run as it is instead of being rewritten.
    paddle.jit.ignore_module([layers, detector, sys.modules[__name__]])
    layer.eval()
    spec: Any = paddle.static.InputSpec(shape, "float32", "input")
    with deferred_signals():
        paddle.jit.save(layer, str(prefix), input_spec=[spec])
    program = next(
        path for path in (prefix.with_suffix(".json"), prefix.with_suffix(".pdmodel")) if path.exists()
    )
    target = prefix.with_suffix(".onnx")
    arguments = [str(program), str(prefix.with_suffix(".pdiparams")), str(target), str(OPSET)]
    child = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", _CHILD, *arguments], capture_output=True, text=True, check=False
    )
    if child.returncode != 0 or not target.exists():
        raise _failure(child)
    return onnx.load(target)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back SIGTERM and Ctrl-C until the block ends.

    Paddle's tracer calls Python from C++: a signal's exception there crashes the process or is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs the handlers of signals in the main thread alone
        return
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda which, _: caught.append(which)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for first in caught[:1]:
            signal.raise_signal(first)


def _failure(child: subprocess.CompletedProcess[str]) -> EnvironmentMissing | GateFailed:
    lines = (child.stdout + child.stderr).strip().splitlines() or ["no output"]
    if "No module named 'paddle2onnx'" in lines[-1]:
        return EnvironmentMissing("paddle2onnx is not installed; pip install paddle2onnx==2.1.0")
    return GateFailed(f"paddle2onnx failed with status {child.returncode}: {lines[-1]}")


def _name_parameters(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give initialisers the checkpoint's parameter names instead of Paddle's internal ones."""
    for initializer in graph.initializer:
        initializer.name = names.get(initializer.name, initializer.name)
    for node in graph.node:
        rename(node, names)
