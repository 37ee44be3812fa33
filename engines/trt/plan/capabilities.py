"""What the installed TensorRT offers, by the names that it has instead of its version."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
        progress: the builder reports its progress.
        version_compatible: plans for later versions too.
        hardware: plans for other GPUs, by level.
        profile_sharing: several contexts on one profile must be requested when a plan is built (8.6).
        plugins_in_plan: plans that carry plugin libraries.
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

    @property
    def can_be_typed(self) -> bool:
        """Strongly typed networks are possible."""
        return self.typed_flag or self.always_typed


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
            name.lower() for name in ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY") if levels and hasattr(levels, name)
        ),
        profile_sharing=hasattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806"),
        plugins_in_plan=hasattr(trt.IBuilderConfig, "plugins_to_serialize"),
        tactic_sources=tuple(getattr(trt.TacticSource, "__members__", {})),
    )


def external_sources(capabilities: Capabilities) -> tuple[str, ...]:
    """Names of the tactic sources that are libraries of their own."""
    return tuple(name for name in capabilities.tactic_sources if name in _LIBRARIES)


def unloadable_sources(capabilities: Capabilities, load: Callable[[str], object] = ctypes.CDLL) -> tuple[str, ...]:
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
