"""A TensorRT plan from an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pssdet.engines.trt.error_log import error_log
from pssdet.engines.trt.plan.capabilities import Capabilities, capabilities, external_sources, unloadable_sources
from pssdet.engines.trt.plan.inspector import inspect
from pssdet.engines.trt.plan.network import check_held, hold_float32, mark_stages, parse
from pssdet.engines.trt.plan.profiles import Profile
from pssdet.engines.trt.plan.progress import Interruption, elapsed, monitor
from pssdet.engines.trt.plan.settings import Settings
from pssdet.engines.trt.plan.timing_cache import keep_timing_cache, use_timing_cache
from pssdet.engines.trt.plugin_library import load_plugins
from pssdet.errors import BadInput, GateFailed
from pssdet.files import write_atomically

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class BuiltPlan:
    """What was built.

    Attributes:
        held: ONNX nodes that were held to float32, on the route ``flags``.
        layers: the inspector's description of each layer; see ``inspector.py``.
    """

    held: frozenset[str]
    layers: list[dict[str, Any]]


def build_plan(
    model: onnx.ModelProto, target: Path, settings: Settings, tell: Callable[[str], None] = lambda _: None
) -> BuiltPlan:
    """Build the plan of an ONNX model into the file ``target``.

    A GPU must be there: without one TensorRT raises nonsense or crashes; see ``devices.gpu``.

    Args:
        model: its detection functions already plugin nodes; see ``rewrite.py``.
        tell: told of each step.

    Raises:
        BadInput: this TensorRT has not what the settings ask for, or a file cannot be written.
        EnvironmentMissing: the plugin library cannot be used, or the GPU has no memory left.
        GateFailed: TensorRT cannot take the graph or build it.
    """
    import tensorrt as trt

    able = capabilities(trt)
    _refuse(able, settings)
    if settings.plugins is not None:
        load_plugins(trt, settings.plugins)
    logger = error_log(trt)
    logger.complaint()  # what was said before is not about this build
    builder = trt.Builder(logger)
    tell("TensorRT: reading the graph")
    # The parser owns the weights: it must live as long as the network is used.
    network, parser = parse(trt, builder, _creation_flags(trt, able, settings), model.SerializeToString(), logger)
    mark_stages(network, settings.stages)
    config = builder.create_builder_config()
    _configure(trt, able, config, settings)
    _add_profiles(builder, network, config, settings.profiles)
    held: set[str] = set()
    if settings.route == "flags":
        held = hold_float32(trt, network, settings.float32)
        check_held(model, settings.float32 - held)
    if settings.timing_cache is not None:
        use_timing_cache(config, settings.timing_cache)
    serialised = _build(trt, able, builder, network, config, tell)
    del parser
    if serialised is None:
        raise GateFailed(f"TensorRT {trt.__version__} could not build the engine: {logger.complaint()}")
    plan = bytes(memoryview(serialised))
    write_atomically(target, plan)
    if settings.timing_cache is not None:
        keep_timing_cache(config, settings.timing_cache)
    tell("TensorRT: looking at the layers of the engine")
    return BuiltPlan(frozenset(held), _layers(trt, logger, plan, settings))


def _refuse(able: Capabilities, settings: Settings) -> None:
    """Say what this TensorRT does not have, before anything is built."""
    if settings.version_compatible and not able.version_compatible:
        raise BadInput("this TensorRT cannot build version-compatible engines; 8.6 is the first that can")
    if settings.hardware and settings.hardware not in able.hardware:
        offered = ", ".join(able.hardware) or "none"
        raise BadInput(f"this TensorRT has no hardware compatibility {settings.hardware!r}; it offers {offered}")
    if settings.plugins_in_plan and not able.plugins_in_plan:
        raise BadInput("this TensorRT cannot put plugins into an engine; 8.6 is the first that can")
    if settings.plugins_in_plan and settings.plugins is None:
        raise BadInput("there is no plugin library to put into the engine; name one with PSSDET_PLUGINS")


def _creation_flags(trt: Any, able: Capabilities, settings: Settings) -> int:
    flags = 0
    if able.explicit_batch_flag:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if able.typed_flag and settings.route == "typed":
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def _configure(trt: Any, able: Capabilities, config: Any, settings: Settings) -> None:
    flag = trt.BuilderFlag
    # TensorFloat-32 rounds to 10 bits of mantissa: what is called float32 must be that.
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
    if able.profile_sharing and not config.get_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806):
        # The session keeps a context for each shape. From 10 on this is always so and cannot be set.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, enable=True)
    if settings.plugins_in_plan:
        config.plugins_to_serialize = [str(settings.plugins)]
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    _drop_sources(trt, able, config, external=settings.external_kernels)


def _drop_sources(trt: Any, able: Capabilities, config: Any, *, external: bool) -> None:
    """Do without libraries that are not on this machine, or not to be used, of those that this version would use."""
    sources = config.get_tactic_sources()
    for name in unloadable_sources(able) if external else external_sources(able):
        sources &= ~(1 << int(getattr(trt.TacticSource, name)))
    config.set_tactic_sources(sources)


def _add_profiles(builder: Any, network: Any, config: Any, profiles: tuple[Profile, ...]) -> None:
    for profile in profiles:
        ours = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            name = network.get_input(index).name
            ours.set_shape(name, *profile.shapes_of(name))
        if config.add_optimization_profile(ours) < 0:
            raise GateFailed(f"TensorRT refuses the profile {profile}; choose other --opt-shapes")


def _build(trt: Any, able: Capabilities, builder: Any, network: Any, config: Any, tell: Callable[[str], None]) -> Any:
    """The serialised engine; None if TensorRT could not make it.

    Raises:
        BaseException: what stopped the build from outside, Ctrl-C as a rule.
    """
    interruption = Interruption()
    if able.progress:
        config.progress_monitor = monitor(trt, tell, interruption)
    else:
        tell("TensorRT: building")
    with nullcontext() if able.progress else elapsed(tell):
        serialised = builder.build_serialized_network(network, config)
    if interruption.error is not None:
        raise interruption.error
    return serialised


def _layers(trt: Any, logger: Any, plan: bytes, settings: Settings) -> list[dict[str, Any]]:
    runtime = trt.Runtime(logger)
    if settings.version_compatible or settings.plugins_in_plan:
        runtime.engine_host_code_allowed = True  # the plan was built a moment ago, here
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise GateFailed(f"TensorRT cannot read the engine that it built: {logger.complaint()}")
    return inspect(trt, engine, settings.profiles[0])
