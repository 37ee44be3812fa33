"""ONNX Runtime: the exported model as it is, on a CPU or through CUDA."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pssdet.console import Progress
from pssdet.engines.backend import Built, Session, Tensors
from pssdet.engines.devices import cuda_device_count
from pssdet.engines.options import DEFAULTS, BuildOptions
from pssdet.engines.precision.recipe import HALF_PREFIXES, chosen_recipe
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.models.card import MODEL_ONNX, EngineCard, ModelCard, Precision, RecipeRecord

if TYPE_CHECKING:
    import onnxruntime

#: The first release whose CPU provider has DeformConv.
_OLDEST = (1, 25)
_INSTALL = "pip install 'onnxruntime>=1.25' 'onnx>=1.17,<1.18' with Python 3.11 or later"

#: Float32 means that, not TensorFloat-32's 10 bits of mantissa; and a new shape of input, of which detectors have many,
#: is not made to wait until every convolution algorithm was tried.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
_FELL_BACK = (
    "ONNX Runtime fell back to the CPU: its CUDA libraries or cuDNN cannot be loaded;"
    " pip install 'onnxruntime-gpu[cuda,cudnn]' brings those that it was built with"
)


class OnnxRuntimeSession:
    """A session on the best provider at hand; input tensors that the graph does not use are skipped."""

    def __init__(self, model: Path, taps: Sequence[str], *, cuda: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
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
    session: onnxruntime.InferenceSession, feed: Mapping[str, NDArray[np.float32]], outputs: Sequence[str], device: str
) -> list[NDArray[Any]]:
    """A run whose outputs stay on the device until all are there, and are then copied."""
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in outputs:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    copied: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
    return copied


class OnnxRuntimeBackend:
    """Copies the model (float32) or rewrites it; see ``precision/half.py`` and ``precision/quantise.py``."""

    name = "onnxruntime"
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    files = (MODEL_ONNX,)
    packages = ("onnxruntime", "onnxruntime-gpu", "onnx", "numpy")
    options = ("recipe", "calibration")
    taps_any = True

    def missing(self) -> str | None:
        """What this machine lacks; see ``Backend``."""
        if importlib.util.find_spec("onnxruntime") is None:
            return f"ONNX Runtime is not installed; {_INSTALL}"
        version = _version()
        if version is not None and tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            return f"ONNX Runtime {version} has no DeformConv on a CPU, 1.25 is the first that has; {_INSTALL}"
        return None

    def missing_to_open(self, card: EngineCard) -> str | None:
        """The same to run an engine; see ``Backend``."""
        del card
        return self.missing()

    def identity(self) -> None:
        """Builds are quick; see ``Backend``."""

    def build(
        self,
        model: Path,
        card: ModelCard,
        precision: Precision,
        folder: Path,
        options: BuildOptions = DEFAULTS,
        progress: Progress = lambda _: None,
    ) -> Built:
        """One ONNX file; on a machine without CUDA half precision is emulated, and int8 everywhere.

        Raises:
            BadInput: the recipe is none or not for this model, or the calibration's pictures are unfit.
        """
        target = folder / MODEL_ONNX
        if precision == "fp32":
            shutil.copyfile(model / MODEL_ONNX, target)
            return Built()
        if precision == "int8":
            return _build_int8(model, card, target, options, progress)
        return _build_half(model / MODEL_ONNX, target, card.model, options.recipe, emulated=not _has_cuda())

    def open(self, folder: Path, card: EngineCard, taps: Sequence[str] = ()) -> Session:
        """A session; an emulated engine runs on the CPU, where its rounding was proved."""
        cuda = _has_cuda()
        if card.precision == "fp16" and not card.emulated and not cuda:
            raise EnvironmentMissing(
                "this engine computes in float16 on a GPU, a CPU would not round at all; build an emulated one here"
                " with python engines/build.py --fp16"
            )
        return OnnxRuntimeSession(folder / MODEL_ONNX, taps, cuda=cuda and not card.emulated)


def _build_half(source: Path, target: Path, name: str, chosen: Path | None = None, *, emulated: bool) -> Built:
    import onnx

    from pssdet.engines.precision.half import emulate_half, half_region, to_half

    model = onnx.load(source)
    recipe = chosen_recipe(chosen, name, model.graph)
    region = half_region(model.graph, emulated=emulated, recipe=recipe)
    whole = sum(node.name.startswith(HALF_PREFIXES) for node in model.graph.node)
    (emulate_half if emulated else to_half)(model, region)
    onnx.save(model, target)
    return Built(
        emulated=emulated, fp32_nodes=whole - len(region), recipe=RecipeRecord(recipe.sha256, recipe.fp32, recipe.note)
    )


def _build_int8(folder: Path, card: ModelCard, target: Path, options: BuildOptions, progress: Progress) -> Built:
    """The graph that TensorRT gets; its accuracy, not its speed.

    ONNX Runtime's CPU provider takes an integer kernel for a convolution only where rounding is all that follows it.
    TensorRT's placement has Relu, an Add or float readers there, so nearly all layers compute in float32 on the rounded
    values.
    """
    import onnx

    from pssdet.engines.precision.int8_model import quantised_model

    if options.calibration is None:
        raise BadInput("int8 takes ranges from pictures, and none are named; --calibration DIR")
    recipe = chosen_recipe(options.recipe, card.model, onnx.load(folder / MODEL_ONNX).graph)
    made = quantised_model(folder, card, options.calibration, progress, recipe=recipe)
    onnx.save(made.model, target)
    return Built(
        emulated=True,
        fp32_nodes=made.float_layers,
        recipe=RecipeRecord(recipe.sha256, recipe.fp32, recipe.note),
        calibration=made.calibration,
    )


def _with_outputs(path: Path, names: Sequence[str]) -> bytes:
    """The model with intermediate tensors among its outputs."""
    import onnx

    model = onnx.load(path)
    present = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    serialised: bytes = model.SerializeToString()
    return serialised


def _has_cuda() -> bool:
    """Whether ONNX Runtime can run on a GPU here: its CUDA provider is there, and so is a device."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers() and cuda_device_count() > 0


def _version() -> str | None:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


BACKEND = OnnxRuntimeBackend()
