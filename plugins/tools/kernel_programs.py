"""Which kernels there are: their sources, names, and the shared memory that their launches ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pssdet.errors import EnvironmentMissing

#: Largest kernel of the fused path, which decides its shared memory: 3 x 3.
TAPS = 9

_PLUGINS = Path(__file__).resolve().parents[1]
_DCN = "pssdet::dcnv2::"
_ROI = "pssdet::roi_align::"
_SELECTION = "pssdet::detection::"


@dataclass(frozen=True)
class Program:
    """Kernels that one header defines; they are compiled together.

    Attributes:
        header: Path of the header.
        names: A kernel's name in our tables -> the C++ expression that names it.
        shared: The name of a kernel whose launch asks for shared memory -> a C++ constant, its bytes.
        check: A C++ condition that must be true.
    """

    header: Path
    names: Mapping[str, str]
    shared: Mapping[str, str] = field(default_factory=dict)
    check: str = "true"

    @property
    def source(self) -> str:
        """The program's text; the sizes are constants in it, to be read from the intermediate code."""
        sizes = [
            f'extern "C" __device__ const int {constant(i)} = {size};' for i, size in enumerate(self.shared.values())
        ]
        check = f'static_assert({self.check}, "the kernels are others than kernel_programs.py lists");'
        return "\n".join([f'#include "{self.header.name}"', check, *sizes])


def constant(index: int) -> str:
    """The name of the constant of the ``index``-th size in ``Program.shared``."""
    return f"shared_bytes_{index}"


def programs() -> tuple[Program, ...]:
    """All of them.

    Raises:
        EnvironmentMissing: the sources are not here, as in an installed wheel.
    """
    return (_deform_conv(), _roi_align(), _selection(), _preprocess())


def tile_names() -> list[str]:
    """The tiles of DCNv2's fused kernel, as ``tiles.h`` names them."""
    return re.findall(r"^using (\w+) = Tile<", _existing("dcnv2/tiles.h").read_text(), re.MULTILINE)


def _deform_conv() -> Program:
    tiles = tile_names()
    names = {f"fused {tile}": f"{_DCN}fused_kernel<{_DCN}{tile}>" for tile in tiles}
    for kind, type_name in (("float32", "float"), ("half", "half")):
        names[f"direct {kind} NCHW"] = f"{_DCN}direct_kernel<{type_name}, false>"
        names[f"direct {kind} NHWC"] = f"{_DCN}direct_kernel<{type_name}, true>"
    shared = {f"fused {tile}": f"{_DCN}{tile}::shared_bytes({TAPS})" for tile in tiles}
    return Program(_existing("dcnv2/kernels.cuh"), names, shared, f"{_DCN}kTiles == {len(tiles)}")


def _roi_align() -> Program:
    names = {
        "RoIAlign float32 NCHW": f"{_ROI}roi_align_kernel<float>",
        "RoIAlign half NCHW": f"{_ROI}roi_align_kernel<half>",
        "RoIAlign half NHWC": f"{_ROI}roi_align_channels_last_kernel",
    }
    return Program(_existing("detection/roi_align_kernels.cuh"), names)


def _selection() -> Program:
    """Proposals and class-wise NMS, with as many candidates as they take."""
    names, shared = {}, {}
    most = f"{_SELECTION}BoxesAndKeys::bytes(PSSDET_MAX_CANDIDATES)"
    for name, step, arguments, threads, size in (
        ("proposals of a chunk", "BestOfChunk", "ProposalsArguments", "kChunkThreads", "ChunkShared"),
        ("proposals of a level", "ProposalsOfLevel", "ProposalsArguments", "kLevelThreads", None),
        ("proposals of an image", "ProposalsOfImage", "ProposalsArguments", "kJointThreads", "JointShared"),
        ("NMS of a class", "BestOfClass", "NmsArguments", "kClassThreads", None),
        ("NMS of an image", "DetectionsOfImage", "NmsArguments", "kJointThreads", "JointShared"),
    ):
        parameters = ", ".join(_SELECTION + parameter for parameter in (step, arguments, threads))
        names[name] = f"{_SELECTION}selection_kernel<{parameters}>"
        shared[name] = f"sizeof({_SELECTION}{size})" if size else most
    return Program(_existing("detection/selection_kernels.cuh"), names, shared)


def _preprocess() -> Program:
    names = {
        f"resize {interpolation}, {kind}": f"pssdet::preprocess::resize_kernel<{cubic}, {normalise_first}>"
        for interpolation, cubic in (("linear", "false"), ("cubic", "true"))
        for kind, normalise_first in (("8-bit", "false"), ("float32", "true"))
    }
    return Program(_existing("preprocess/kernels.cuh"), names)


def _existing(name: str) -> Path:
    path = _PLUGINS / name
    if not path.is_file():
        raise EnvironmentMissing(f"{path} is missing: the kernels' sources are in a checkout of the project only")
    return path
