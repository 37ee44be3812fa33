"""Paddle Inference on a CPU as it comes, with all cores: oneDNN is on by default."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from pssdet.engines.backend import Tensors
from pssdet.export.convert import deferred_signals
from pssdet.machine import usable_cores
from pssdet.models.card import ModelCard
from pssdet.models.network import detector, layers
from pssdet.models.network.reference_run import run_reference, with_parameters


class _Trunk(nn.Layer):  # type: ignore[misc]
    """Tracing wants a layer of its own and takes outputs as a list."""

    def __init__(self, model: detector.TwoStageDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> list[Tensor]:
        """Every map of the trunk, in its order."""
        return list(self.model.trunk(image).values())


class _Detector(detector.TwoStageDetector):
    """A detector whose trunk can be replaced."""

    predicted: Callable[[Tensor], dict[str, Tensor]] | None = None

    def trunk(self, image: Tensor) -> dict[str, Tensor]:
        """As its base; see there."""
        return self.predicted(image) if self.predicted else super().trunk(image)


class PaddlePredictorSession:
    """A detector whose trunk runs in Paddle's predictor and whose detection part runs eagerly.

    The detection part has a loop over images and conditions on counts, so that Paddle cannot save it as a
    program. It takes a tenth of the time.
    """

    def __init__(self, parameters: Path, card: ModelCard) -> None:
        with np.load(parameters, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files}
        self._model = with_parameters(_Detector(card.architecture, card.numerics), values)
        with paddle.no_grad():
            side = card.architecture.strides[-1]
            names = list(self._model.trunk(paddle.zeros([1, 3, side, side])))
        self._predictor = _predictor(self._model)
        self._model.predicted = lambda image: dict(
            zip(names, map(paddle.to_tensor, self._maps(image)), strict=True)
        )
        self._outputs = [record.name for record in card.outputs]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        tensors = run_reference(self._model, inputs)
        return {name: tensors[name] for name in self._outputs}

    def close(self) -> None:
        """Free the session's memory."""
        del self._model, self._predictor

    def _maps(self, image: Tensor) -> list[NDArray[np.float32]]:
        (name,) = self._predictor.get_input_names()
        self._predictor.get_input_handle(name).copy_from_cpu(image.numpy())
        self._predictor.run()
        outputs = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(each).copy_to_cpu() for each in outputs]


def _predictor(model: detector.TwoStageDetector) -> Any:
    from paddle import inference

    # No control flow depends on tensors, so the source is run as it is instead of being rewritten.
    paddle.jit.ignore_module([layers, detector, sys.modules[__name__]])
    layer = _Trunk(model)
    layer.eval()
    spec: Any = paddle.static.InputSpec([None, 3, None, None], "float32", "input")
    with tempfile.TemporaryDirectory(prefix="pssdet-") as folder:
        prefix = Path(folder) / "trunk"
        with deferred_signals():
            paddle.jit.save(layer, str(prefix), input_spec=[spec])
        config = inference.Config(f"{prefix}.json", f"{prefix}.pdiparams")
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(usable_cores())
        return inference.create_predictor(config)
