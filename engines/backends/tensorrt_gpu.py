"""TensorRT: the whole detector in one plan, the detection part and DCNv2 as plugins."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from pssdet.console import Progress
from pssdet.engines.backend import (
    AUTOMATIC,
    INDIFFERENT,
    Backend,
    PrecisionOptions,
    Session,
    Threading,
)
from pssdet.engines.compatibility import check_compatible
from pssdet.engines.devices import Gpu, cuda_device_count, gpu
from pssdet.engines.precision.recipe import chosen_recipe
from pssdet.engines.trt.plan.builder import BuildSettings
from pssdet.engines.trt.plan.capabilities import Hardware
from pssdet.engines.trt.profiles import Profile, default_profile, read_profiles
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.files import engine_cache, sha256_of
from pssdet.models.card import (
    MODEL_ONNX,
    EngineCard,
    FileRecord,
    GpuRecord,
    LayersRecord,
    ModelCard,
    Precision,
    ProfileRecord,
)
from pssdet.plugins.bindings.libraries import find_plugins

PLAN = "model.plan"

_MIB = 1 << 20
_WAY_OUT = "docs/tensorrt.md says what to install; --backend onnxruntime runs without it"


@dataclass(frozen=True)
class TensorRTOptions(PrecisionOptions):
    """Options that TensorRT has besides."""

    min_shapes: tuple[str, ...] = ()
    """TensorRT: smallest input, NxHxW, e.g. 1x320x320; again for a further profile."""

    opt_shapes: tuple[str, ...] = ()
    """TensorRT: typical input; kernels are chosen for it (default: the model's test size)."""

    max_shapes: tuple[str, ...] = ()
    """TensorRT: largest input."""

    workspace: int | None = None
    """TensorRT: limit of the builder's scratch memory, MiB."""

    timing_cache: Path | None = field(default=None, metadata=INDIFFERENT)
    """TensorRT: file of measured kernels, read and added to (default: one in the cache)."""

    stages: bool = False
    """TensorRT: the engine also returns every stage, for the stage-by-stage comparison; slower."""

    strongly_typed: bool = False
    """TensorRT 10: the graph says every type, as it always does from 11 on."""

    version_compatible: bool = False
    """TensorRT: the engine also runs in later versions of the same major version."""

    hardware_compatible: Hardware | None = None
    """TensorRT: the engine also runs on other GPUs: ampere_plus or same_compute_capability."""

    plugins_in_plan: bool = False
    """TensorRT: the engine carries the plugin library."""

    def check(self, precision: str) -> None:
        """Refuse a workspace of less than 1 MiB, too; see ``BuildOptions``."""
        if self.workspace is not None and self.workspace < 1:
            raise BadInput(f"--workspace is in MiB, 1 or more, not {self.workspace}")
        super().check(precision)


class _TensorRTBackend(Backend[TensorRTOptions]):
    """Builds for the first GPU of this machine."""

    name = "tensorrt"
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    files = (PLAN,)
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
        """Build a plan; its layers must have the precision that was asked for."""
        import onnx
        import tensorrt as trt

        from pssdet.engines.precision.operations import convolution_flops
        from pssdet.engines.trt.graph.rewrite import plugin_graph
        from pssdet.engines.trt.plan.builder import build_plan, timing_cache_name
        from pssdet.engines.trt.plan.capabilities import capabilities_of, choose_route, graph_for
        from pssdet.engines.trt.plan.inspector import prove, summarise
        from pssdet.models.stages import tap_names

        card, precision = draft.model, draft.precision
        device, library = _device(), find_plugins()
        profiles = _profiles(card, options)
        reduced = precision != "fp32"
        route = choose_route(capabilities_of(trt), reduced=reduced, typed=options.strongly_typed)
        exported = onnx.load(model / MODEL_ONNX)
        recipe = chosen_recipe(options.recipe, card.model, exported.graph, precision) if reduced else None
        source, calibration = exported, None
        if recipe is not None and options.calibration is not None:
            from pssdet.engines.precision.quantise import quantised_model

            made = quantised_model(exported, model, card, options.calibration, progress, recipe=recipe)
            source, calibration = made.model, made.calibration
        graph, float32 = graph_for(plugin_graph(source), route, recipe.fp32 if recipe else (), reduced=reduced)
        settings = BuildSettings(
            profiles=profiles,
            route=route,
            int8=precision == "int8",
            float32=float32,
            stages=tap_names(card.architecture) if options.stages else (),
            plugins=library,
            workspace=options.workspace * _MIB if options.workspace is not None else None,
            timing_cache=options.timing_cache
            or engine_cache() / timing_cache_name(trt.__version__, device.name),
            version_compatible=options.version_compatible,
            hardware=options.hardware_compatible,
            plugins_in_plan=options.plugins_in_plan,
        )
        layers = build_plan(graph, folder / PLAN, settings, progress)
        precisions = summarise(layers, convolution_flops(exported, profiles[0].opt))
        if precision != "fp32":
            prove(precisions, precision)
        return replace(
            draft,
            fp32_nodes=len(recipe.fp32) if recipe else 0,
            versions={**draft.versions, "tensorrt": trt.__version__, "cuda (driver)": device.cuda},
            gpu=GpuRecord(*device),
            plugins=FileRecord.of(library),
            recipe=recipe.record() if recipe else None,
            profiles=tuple(ProfileRecord(each.min, each.opt, each.max) for each in profiles),
            layers=LayersRecord(precisions.layers, precisions.flops, precisions.wide),
            calibration=calibration,
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


def _profiles(card: ModelCard, options: TensorRTOptions) -> tuple[Profile, ...]:
    steps = card.preprocessing
    given = read_profiles(options.min_shapes, options.opt_shapes, options.max_shapes)
    return given or (default_profile(steps.short_side, steps.long_side),)


BACKEND = _TensorRTBackend()
