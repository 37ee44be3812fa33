"""A session of ONNX Runtime on an ONNX file, on a CPU or through CUDA."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.engines.backend import Tensors
from pssdet.errors import EnvironmentMissing

if TYPE_CHECKING:
    import onnxruntime

#: The first release whose CPU provider has DeformConv.
_OLDEST = (1, 25)
_INSTALL = "pip install 'onnxruntime>=1.25' 'onnx>=1.17,<1.18' with Python 3.11 or later"

#: Float32 must not be TensorFloat-32 with its 10 bits of mantissa. Detectors meet many input shapes:
#: a new one must not wait until every convolution algorithm was tried.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
_FELL_BACK = (
    "ONNX Runtime fell back to the CPU: its CUDA libraries or cuDNN cannot be loaded;"
    " pip install 'onnxruntime-gpu[cuda,cudnn]' brings those that it was built with"
)


def missing_onnx_runtime() -> str | None:
    """What this machine lacks to run an exported model, and how to get it; None if it lacks nothing."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed; {_INSTALL}"
    version = _version()
    if version is not None and tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        return f"ONNX Runtime {version} has no DeformConv on a CPU, 1.25 is the first that has; {_INSTALL}"
    return None


class OnnxRuntimeSession:
    """A session on a CPU or through CUDA; inputs that the graph does not use are skipped."""

    def __init__(self, model: Path, taps: Sequence[str], *, cuda: bool, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # warnings about unused functions help nobody
        providers: list[Any] = [("CUDAExecutionProvider", _CUDA_OPTIONS)] if cuda else []
        source: Any = _with_outputs(model, taps) if taps else str(model)
        self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
            source, options, providers=[*providers, "CPUExecutionProvider"]
        )
        if cuda and "CUDAExecutionProvider" not in self._session.get_providers():
            raise EnvironmentMissing(_FELL_BACK)
        self._device = "cuda" if cuda else None
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
        """One batch; see ``Session``."""
        if self._session is None:
            raise ValueError("the session is closed")
        feed = {name: value for name, value in inputs.items() if name in self._inputs}
        if self._device is None:
            values = self._session.run(self._outputs, feed)
        else:
            values = _run_bound(self._session, feed, self._outputs, self._device)
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Free the session's memory."""
        self._session = None


def _run_bound(
    session: onnxruntime.InferenceSession,
    feed: Mapping[str, NDArray[np.float32]],
    outputs: Sequence[str],
    device: str,
) -> list[NDArray[Any]]:
    """Run with outputs that stay on the device until all are computed, and copy them then."""
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in outputs:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    copied: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
    return copied


def _with_outputs(path: Path, names: Sequence[str]) -> bytes:
    import onnx

    model = onnx.load(path)
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    serialised: bytes = model.SerializeToString()
    return serialised


def _version() -> str | None:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None
