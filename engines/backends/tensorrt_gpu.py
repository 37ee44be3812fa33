"""TensorRT: says what it would need; this version builds no TensorRT engines yet."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from pssdet.engines.devices import cuda_device_count
from pssdet.engines.protocol import Built, Session
from pssdet.errors import EnvironmentMissing
from pssdet.models.card import EngineCard, ModelCard, Precision

_NOT_YET = (
    "this version of pss-det has no TensorRT plugins for DCNv2 and the detection part yet; use --backend onnxruntime"
)


class TensorRTBackend:
    """Looks for a GPU and for TensorRT, in that order."""

    name = "tensorrt"
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    files = ()
    packages = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")

    def missing(self) -> str | None:
        """What this machine lacks; see ``Backend``."""
        lacks = []
        if cuda_device_count() == 0:
            lacks.append("no NVIDIA GPU with a driver was found")
        if importlib.util.find_spec("tensorrt") is None:
            lacks.append("the package tensorrt is not installed")
        if lacks:
            return f"TensorRT cannot be used here: {' and '.join(lacks)}; besides, {_NOT_YET}"
        return _NOT_YET

    def build(self, model: Path, card: ModelCard, precision: Precision, folder: Path) -> Built:
        """Not available."""
        del model, card, precision, folder
        raise EnvironmentMissing(_NOT_YET)

    def open(self, folder: Path, card: EngineCard, taps: Sequence[str] = ()) -> Session:
        """Not available."""
        del folder, card, taps
        raise EnvironmentMissing(_NOT_YET)


BACKEND = TensorRTBackend()
