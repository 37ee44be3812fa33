"""Options of a TensorRT build, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pssdet.engines.trt.plan.profiles import Profile

Hardware = Literal["ampere_plus", "same_compute_capability"]
#: ``plain`` float32, ``flags`` (the builder chooses types, within constraints) or ``typed`` (the graph says them).
Route = Literal["plain", "flags", "typed"]


@dataclass(frozen=True)
class BuildSettings:
    """Options of one build.

    Attributes:
        profiles: input shapes that the plan serves; the first is the one that layers are inspected with.
        route: how the plan gets its precision.
        int8: the graph has quantised layers.
        float32: names of ONNX nodes that stay float32 on the route ``flags``.
        stages: tensors to return beside the outputs, by name.
        plugins: the plugin library; None: the graph has no plugins, or they are registered already.
        workspace: limit of the builder's scratch memory, bytes; None: TensorRT's own, all of the GPU.
        timing_cache: file of measured kernels, read before and written after the build; None: not kept.
        external_kernels: kernels of cuBLAS and cuDNN may be used where those libraries are, by versions that still do;
            False is for machines with mere stand-ins for them.
        version_compatible: the plan runs in later minor versions too.
        hardware: the plan runs on other GPUs too; None: on this architecture.
        plugins_in_plan: the plan carries the plugin library.
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
