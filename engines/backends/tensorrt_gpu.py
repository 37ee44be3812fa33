"""TensorRT: the whole detector in one plan, the detection part and DCNv2 as plugins."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pssdet.engines.backend import AUTOMATIC, Backend, Session, Threading
from pssdet.engines.backends.tensorrt_network import PLAN, TensorRTOptions, prepare_network
from pssdet.engines.compatibility import check_compatible
from pssdet.engines.devices import Gpu, cuda_device_count, gpu
from pssdet.engines.trt.plan.builder import LAYERS_JSON, LOG
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import engine_cache, sha256_of
from pssdet.models.card import (
    EngineCard,
    FileRecord,
    GpuRecord,
    LayersRecord,
    Precision,
    ProfileRecord,
)
from pssdet.plugins.bindings.libraries import find_plugins

if TYPE_CHECKING:
    from pssdet.console import Progress

_WAY_OUT = "docs/tensorrt.md says what to install; --backend onnxruntime runs without it"


class _TensorRTBackend(Backend[TensorRTOptions]):
    """Builds for the first GPU of this machine."""

    name = "tensorrt"
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    files = (PLAN,)
    evidence = (Path(PLAN).with_suffix(LAYERS_JSON).name, Path(PLAN).with_suffix(LOG).name)
    packages = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "cuda-bindings", "onnx", "numpy")
    options = TensorRTOptions
    taps_any = False

    def missing(self) -> str | None:
        return self._missing(plugins=True)

    def missing_to_open(self, card: EngineCard) -> str | None:
        return self._missing(plugins=not _carries_plugins(card))

    def _missing(self, *, plugins: bool) -> str | None:
        lacks = []  # the driver is asked first: without it TensorRT may crash
        if cuda_device_count() == 0:
            lacks.append("no NVIDIA GPU with a driver was found")
        if not _installed("tensorrt"):
            lacks.append("the package tensorrt is not installed")
        if not _installed("cuda.bindings"):
            lacks.append("the package cuda-bindings is not installed")
        try:
            if plugins:
                find_plugins()
        except EnvironmentMissing as error:
            lacks.append(str(error))
        return f"TensorRT cannot be used here: {'; '.join(lacks)}; {_WAY_OUT}" if lacks else None

    def identity(self) -> Mapping[str, str]:
        device = _device()
        return {
            "tensorrt": _version(),
            "gpu": device.name,
            "capability": ".".join(map(str, device.capability)),
            "plugins": FileRecord.of(find_plugins()).sha256,
        }

    def environment(self, card: EngineCard) -> dict[str, str]:
        """TensorRT, GPU, driver, and the plugin library unless the engine carries it."""
        device = _device()
        parts = {
            "TensorRT": _version(),
            "GPU": f"{device.name} (sm_{device.capability[0]}{device.capability[1]})",
            "driver": device.driver or f"of CUDA {device.cuda}",
        }
        return parts if _carries_plugins(card) else {**parts, "plugins": sha256_of(find_plugins())[:16]}

    def build(
        self, model: Path, draft: EngineCard, folder: Path, options: TensorRTOptions, progress: Progress
    ) -> EngineCard:
        """Build a plan; its layers must have the precision asked for, and float32 where that must stay."""
        import tensorrt as trt

        from pssdet.engines.precision.operations import convolution_flops
        from pssdet.engines.trt.plan.builder import build_plan, timing_cache_name
        from pssdet.engines.trt.plan.capabilities import capabilities_of, choose_route
        from pssdet.engines.trt.plan.inspector import prove, summarise
        from pssdet.engines.trt.plan.read_back import read_back

        card, precision = draft.model, draft.precision
        device, library = _device(), find_plugins()
        kernels = engine_cache() / timing_cache_name(trt.__version__, device.name)
        made = prepare_network(
            model,
            card,
            precision,
            options,
            choose_route(capabilities_of(trt), reduced=precision != "fp32", typed=options.typed),
            progress,
            plugins=library,
            timing_cache=options.timing_cache or kernels,
        )
        profiles, recipe = made.settings.profiles, made.recipe
        built = build_plan(made.graph, folder / PLAN, made.settings, progress)
        precisions = summarise(built.layers, convolution_flops(made.exported, profiles[0].opt))
        told = read_back(built.layers, built.held)
        if precision != "fp32":
            prove(precisions, precision)
            told.prove()
        return replace(
            draft,
            fp32_nodes=len(recipe.fp32) if recipe else 0,
            versions={**draft.versions, "tensorrt": trt.__version__, "cuda (driver)": device.cuda},
            gpu=GpuRecord(*device),
            plugins=FileRecord.of(library),
            recipe=recipe.record() if recipe else None,
            profiles=tuple(ProfileRecord(each.min, each.opt, each.max) for each in profiles),
            layers=LayersRecord(
                precisions.layers, precisions.flops, precisions.wide, held=told.recorded(built.held)
            ),
            calibration=made.calibration,
            tapped=options.stages,
        )

    def open(
        self, folder: Path, card: EngineCard, taps: Sequence[str] = (), threading: Threading = AUTOMATIC
    ) -> Session:
        """Open a session on a plan that fits this machine and returns the stages asked for."""
        del threading
        if taps and not card.tapped:
            raise BadInput(f"the engine in {folder} does not return its stages; build one that does: --stages")
        carried = _carries_plugins(card)
        library = None if carried else find_plugins()
        check_compatible(folder, card, _device(), _version(), library)
        from pssdet.engines.trt.runtime.session import TensorRTSession
        from pssdet.plugins.bindings.preprocess import find_preprocess_kernel

        return TensorRTSession(
            folder / PLAN,
            plugins=library,
            host_code=carried or "version_compatible" in card.options,
            outputs={record.name: record.dtype for record in card.model.outputs},
            kernel=find_preprocess_kernel(library),
        )


def _carries_plugins(card: EngineCard) -> bool:
    return "plugins_in_plan" in card.options


def _installed(name: str) -> bool:
    """Whether a package is installed, without importing it: TensorRT crashes on some machines."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # there is no package that it could be in
        return False


def _device() -> Gpu:
    found = gpu()
    if found is None:
        raise EnvironmentMissing(f"the driver does not describe its GPU; does nvidia-smi succeed? {_WAY_OUT}")
    return found


def _version() -> str:
    import tensorrt

    version: str = tensorrt.__version__
    return version


BACKEND = _TensorRTBackend()
