"""A TensorRT plan from an ONNX graph, with a timing cache that several builds may share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pssdet.engines.trt.callbacks import Report, error_log, progress_monitor, report_elapsed
from pssdet.engines.trt.plan.capabilities import (
    Capabilities,
    Hardware,
    Route,
    capabilities_of,
    external_sources,
    unloadable_sources,
)
from pssdet.engines.trt.plan.held import Held, hold_in_float32
from pssdet.engines.trt.plan.inspector import first_profile, read_layers
from pssdet.engines.trt.plan.network import mark_stages, parse
from pssdet.engines.trt.plan.opening import described, described_apart
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.engines.trt.profiles import Profile
from pssdet.errors import BadInput, GateFailed
from pssdet.files import locked, write_atomically

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class BuildSettings:
    """Options of one build.

    Attributes:
        profiles: input shapes that the plan serves; layers are inspected with the first.
        float32: names of ONNX nodes that stay float32 on the route ``flags``.
        stages: tensors to return beside the outputs, by name.
        plugins: the plugin library; None: the graph has no plugins, or they are registered already.
        workspace: limit of the builder's scratch memory, bytes; None: TensorRT's own, all of the GPU.
        timing_cache: file of measured kernels, read and added to; None: not kept.
        external_kernels: kernels of cuBLAS and cuDNN may be used; False where they are stand-ins.
        plugins_in_plan: the plan carries the library, as only version-compatible plans can.
    """

    profiles: tuple[Profile, ...]
    route: Route = "plain"
    int8: bool = False
    float32: frozenset[str] = field(default_factory=frozenset)
    stages: tuple[str, ...] = ()
    plugins: Path | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    external_kernels: bool = True
    version_compatible: bool = False
    hardware: Hardware | None = None
    plugins_in_plan: bool = False


#: Ends of the files beside a plan that say how it came about.
LAYERS_JSON, LOG = ".layers.json", ".log"


class BuiltPlan(NamedTuple):
    """What is known of a plan.

    Attributes:
        layers: the inspector's description of each layer of the first profile; see ``inspector.py``.
        held: what became of the nodes that were to stay in float32.
    """

    layers: list[dict[str, Any]]
    held: Held


def build_plan(
    model: onnx.ModelProto, target: Path, settings: BuildSettings, report: Report = lambda _: None
) -> BuiltPlan:
    """Build the plan of an ONNX model into the file ``target``.

    What TensorRT said is written beside it, whether it succeeds or not: ``.layers.json`` the inspector's whole
    answer, ``.log`` all messages, of verbose ones the latest.

    There must be a GPU: without one TensorRT raises misleading errors or crashes; see ``devices.gpu``.

    Args:
        model: what ``rewrite.plugin_graph`` or ``rewrite.typed_half`` gives.

    Raises:
        BadInput: this TensorRT lacks what the settings ask for, or a file cannot be written.
        EnvironmentMissing: the plugin library cannot be used, or the GPU has no memory left.
        GateFailed: TensorRT cannot take the graph or build it.
    """
    import tensorrt as trt

    capabilities = capabilities_of(trt)
    _check_supported(capabilities, settings)
    if settings.plugins is not None:
        load_plugins(trt, settings.plugins)
    logger = error_log(trt)
    logger.begin()
    try:
        return _build_and_inspect(trt, capabilities, logger, model, target, settings, report)
    finally:
        write_atomically(target.with_suffix(LOG), logger.transcript().encode())


def _build_and_inspect(
    trt: Any,
    capabilities: Capabilities,
    logger: Any,
    model: onnx.ModelProto,
    target: Path,
    settings: BuildSettings,
    report: Report,
) -> BuiltPlan:
    builder = trt.Builder(logger)
    report("TensorRT: reading the graph")
    # The parser owns the weights: it must live as long as the network is used.
    network, parser = parse(
        trt, builder, _creation_flags(trt, capabilities, settings), model.SerializeToString(), logger
    )
    mark_stages(network, settings.stages)
    config = builder.create_builder_config()
    _configure(trt, capabilities, config, settings)
    _add_profiles(builder, network, config, settings.profiles)
    held = hold_in_float32(trt, network, model, settings.float32) if settings.route == "flags" else Held()
    if settings.timing_cache is not None:
        load_timing_cache(config, settings.timing_cache)
    serialised = _build(trt, capabilities, builder, network, config, report)
    del parser
    if serialised is None:
        raise GateFailed(f"TensorRT {trt.__version__} could not build the engine: {logger.last_errors()}")
    plan = bytes(memoryview(serialised))
    write_atomically(target, plan)
    if settings.timing_cache is not None:
        save_timing_cache(config, settings.timing_cache)
    report("TensorRT: inspecting the layers of the engine")
    if settings.plugins_in_plan:
        text = described_apart(target, settings.profiles[0])
    else:
        text = described(trt, plan, settings.profiles[0], host_code=settings.version_compatible)
    write_atomically(target.with_suffix(LAYERS_JSON), text.encode())
    return BuiltPlan(first_profile(read_layers(text)), held)


def _check_supported(capabilities: Capabilities, settings: BuildSettings) -> None:
    if settings.version_compatible and not capabilities.version_compatible:
        raise BadInput("this TensorRT cannot build version-compatible engines; 8.6 is the first that can")
    if settings.hardware and settings.hardware not in capabilities.hardware:
        offered = ", ".join(capabilities.hardware) or "none"
        raise BadInput(
            f"this TensorRT has no hardware compatibility {settings.hardware!r}; it offers {offered}"
        )
    if settings.plugins_in_plan and not capabilities.plugins_in_plan:
        raise BadInput("this TensorRT cannot put plugins into an engine; 8.6 is the first that can")
    if settings.plugins_in_plan and settings.plugins is None:
        raise BadInput("there is no plugin library to put into the engine; name one with PSSDET_PLUGINS")


def _creation_flags(trt: Any, capabilities: Capabilities, settings: BuildSettings) -> int:
    flags = 0
    if capabilities.explicit_batch_flag:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if capabilities.typed_flag and settings.route == "typed":
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def _configure(trt: Any, capabilities: Capabilities, config: Any, settings: BuildSettings) -> None:
    flag = trt.BuilderFlag
    # TensorFloat-32 would round to 10 bits of mantissa: float32 must be float32.
    config.clear_flag(flag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if settings.route == "flags":
        config.set_flag(flag.FP16)
        config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS)
        if settings.int8:
            config.set_flag(flag.INT8)
    if settings.version_compatible:
        config.set_flag(flag.VERSION_COMPATIBLE)
    if settings.hardware:
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, settings.hardware.upper())
    if capabilities.profile_sharing and not config.get_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806):
        # The session keeps a context for each shape. From 10 on this is always possible.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, enable=True)
    if settings.plugins_in_plan:
        config.plugins_to_serialize = [str(settings.plugins)]
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    _drop_sources(trt, capabilities, config, external=settings.external_kernels)


def _drop_sources(trt: Any, capabilities: Capabilities, config: Any, *, external: bool) -> None:
    """Exclude kernels of libraries that this machine lacks, or of all external libraries."""
    sources = config.get_tactic_sources()
    for name in unloadable_sources(capabilities) if external else external_sources(capabilities):
        sources &= ~(1 << int(getattr(trt.TacticSource, name)))
    config.set_tactic_sources(sources)


def _add_profiles(builder: Any, network: Any, config: Any, profiles: tuple[Profile, ...]) -> None:
    for profile in profiles:
        added = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            name = network.get_input(index).name
            added.set_shape(name, *profile.range_of(name))
        if config.add_optimization_profile(added) < 0:
            raise GateFailed(f"TensorRT refuses the profile {profile}; choose other --opt-shapes")


def _build(
    trt: Any, capabilities: Capabilities, builder: Any, network: Any, config: Any, report: Report
) -> Any:
    """The serialised engine, or None; errors of ``report`` during the build, Ctrl-C too, are raised."""
    if not capabilities.progress:
        report("TensorRT: building")
        with report_elapsed(report):
            return builder.build_serialized_network(network, config)
    monitor = config.progress_monitor = progress_monitor(trt, report)
    serialised = builder.build_serialized_network(network, config)
    if monitor.error is not None:
        raise monitor.error
    return serialised


def timing_cache_name(version: str, gpu: str) -> str:
    """File name of the cache of one TensorRT on one kind of GPU."""
    return re.sub(r"[^\w.-]+", "-", f"tensorrt-{version}-{gpu}").strip("-") + ".timing"


def load_timing_cache(config: Any, path: Path) -> None:
    """Give the builder the file's measurements; none if it is broken or of another TensorRT."""
    with locked(_lock(path)):
        content = _read(path)
    cache = config.create_timing_cache(content)
    # TensorRT returns None for content that it cannot read.
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def save_timing_cache(config: Any, path: Path) -> None:
    """Add the build's measurements to the file, which other builds write to as well.

    Raises:
        BadInput: the file cannot be written.
    """
    measured = config.get_timing_cache()
    if measured is None:
        return
    with locked(_lock(path)):
        content = _read(path)
        if content and (others := config.create_timing_cache(content)) is not None:
            measured.combine(others, ignore_mismatch=False)
        write_atomically(path, bytes(memoryview(measured.serialize())))


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
