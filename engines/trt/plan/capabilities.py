"""What the installed TensorRT offers, by the names that it has, and the way to a precision."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pssdet.errors import BadInput, EnvironmentMissing

if TYPE_CHECKING:
    import onnx

Hardware = Literal["ampere_plus", "same_compute_capability"]
#: ``plain`` float32, ``flags`` (the builder chooses types within constraints), ``typed`` (the graph does).
Route = Literal["plain", "flags", "typed"]

#: Libraries behind tactic sources that older versions use unless told otherwise, newest first.
_LIBRARIES = {
    "CUBLAS": ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11"),
    "CUBLAS_LT": ("libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"),
    "CUDNN": ("libcudnn.so.9", "libcudnn.so.8"),
}


@dataclass(frozen=True)
class Capabilities:
    """One TensorRT's abilities.

    Attributes:
        half_flag: the builder can be told to use FP16 where it is faster.
        constraints: layers can be constrained to a type.
        typed_flag: a network can be declared strongly typed.
        explicit_batch_flag: a network must be declared to have a batch dimension.
        hardware: plans for other GPUs, by level.
        profile_sharing: several contexts on one profile must be requested when a plan is built (8.6).
        tactic_sources: names of the libraries that the builder may take kernels from.
    """

    half_flag: bool
    constraints: bool
    typed_flag: bool
    explicit_batch_flag: bool
    progress: bool
    version_compatible: bool
    hardware: tuple[str, ...]
    profile_sharing: bool
    plugins_in_plan: bool
    tactic_sources: tuple[str, ...]

    @property
    def always_typed(self) -> bool:
        """Every network is strongly typed: there are no flags for reduced precision."""
        return not self.half_flag


def capabilities_of(trt: Any) -> Capabilities:
    """The abilities of the module ``tensorrt``."""
    flags, creation = trt.BuilderFlag, getattr(trt, "NetworkDefinitionCreationFlag", None)
    levels = getattr(trt, "HardwareCompatibilityLevel", None)
    return Capabilities(
        half_flag=hasattr(flags, "FP16"),
        constraints=hasattr(flags, "OBEY_PRECISION_CONSTRAINTS"),
        typed_flag=hasattr(creation, "STRONGLY_TYPED"),
        explicit_batch_flag=hasattr(creation, "EXPLICIT_BATCH"),
        progress=hasattr(trt, "IProgressMonitor"),
        version_compatible=hasattr(flags, "VERSION_COMPATIBLE"),
        hardware=tuple(
            name.lower()
            for name in ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")
            if levels and hasattr(levels, name)
        ),
        profile_sharing=hasattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806"),
        plugins_in_plan=hasattr(trt.IBuilderConfig, "plugins_to_serialize"),
        tactic_sources=tuple(getattr(trt.TacticSource, "__members__", {})),
    )


def external_sources(capabilities: Capabilities) -> tuple[str, ...]:
    """Names of the tactic sources that are libraries of their own."""
    return tuple(name for name in capabilities.tactic_sources if name in _LIBRARIES)


def unloadable_sources(
    capabilities: Capabilities, load: Callable[[str], object] = ctypes.CDLL
) -> tuple[str, ...]:
    """Names of the tactic sources whose library is not on this machine."""
    return tuple(name for name in external_sources(capabilities) if not _any_loads(_LIBRARIES[name], load))


def _any_loads(names: tuple[str, ...], load: Callable[[str], object]) -> bool:
    for name in names:
        try:
            load(name)
        except OSError:
            continue
        return True
    return False


def choose_route(capabilities: Capabilities, *, reduced: bool, typed: bool | None = None) -> Route:
    """The route of a build in reduced precision (FP16, INT8) or float32.

    Args:
        typed: strongly typed, or not; None: reduced precision is strongly typed where it can be.

    Raises:
        BadInput: this version does not have what was asked for.
        EnvironmentMissing: the version has flags for FP16 but cannot hold layers to float32.
    """
    can_be_typed = capabilities.typed_flag or capabilities.always_typed
    if typed and not can_be_typed:
        raise BadInput(
            "this TensorRT has no strongly typed networks, 9.1 is the first that has;"
            " leave out --precision-route"
        )
    if not reduced:
        return "typed" if typed else "plain"
    if typed is None:
        typed = can_be_typed
    if typed:
        return "typed"
    if capabilities.always_typed:
        raise BadInput(
            "this TensorRT has no flags for FP16 and INT8, 10.x are the last that have;"
            " leave out --precision-route"
        )
    if not capabilities.constraints:
        raise EnvironmentMissing(
            "this TensorRT cannot hold layers to float32 (no OBEY_PRECISION_CONSTRAINTS);"
            " 8.2 is the first that can"
        )
    return "flags"


def graph_for(
    plugin_model: onnx.ModelProto, route: Route, kept: Iterable[str], *, reduced: bool
) -> tuple[onnx.ModelProto, frozenset[str]]:
    """The graph to build, and the nodes to constrain to float32 where the builder chooses the types.

    Args:
        plugin_model: what ``rewrite.plugin_graph`` gives.
        kept: nodes of trunk and head that stay float32; see ``recipe.Recipe``.
        reduced: FP16 or INT8 was asked for; else the graph stays as it is.

    Raises:
        BadInput: the graph's types contradict each other.
    """
    if not reduced:
        return plugin_model, frozenset()
    from pssdet.engines.trt.graph.rewrite import typed_half, typed_region

    if route == "typed":
        return typed_half(plugin_model, kept), frozenset()
    names = {node.name for node in plugin_model.graph.node}
    return plugin_model, frozenset(names - typed_region(plugin_model.graph, kept))
