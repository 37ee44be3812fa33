"""The kernels: which there are, and what the compiler makes of each for a GPU architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pssdet.errors import EnvironmentMissing
from pssdet.plugins.tools.toolchain import Compiled, MachineCode, Nvrtc, machine_code

TAPS = 9  # largest kernel of the fused path, 3 x 3, which decides its shared memory

_BARRIER = re.compile(r"\bbar(?:rier)?\.(?:warp\.)?sync\b")
_PARTING = re.compile(r"\$\w+:|\s*@!?%p\d+\s+bra\b")
_MATRIX = re.compile(r"\b(?:wmma|ldmatrix|mma)\.(?:\w+\.)*sync\.aligned\b")

_PLUGINS = Path(__file__).resolve().parents[1]
_DCN = "pssdet::dcnv2::"
_DIRECT = {
    f"direct {kind} {layout}": f"{_DCN}Direct<{type_name}, {channels_last}>"
    for kind, type_name in (("float32", "float"), ("half", "half"))
    for layout, channels_last in (("NCHW", "false"), ("NHWC", "true"))
}
_ROI_ALIGN = {
    "RoIAlign float32 NCHW": "pssdet::roi_align::RoiAlign<float, false>",
    "RoIAlign half NCHW": "pssdet::roi_align::RoiAlign<half, false>",
    "RoIAlign half NHWC": "pssdet::roi_align::RoiAlign<half, true>",
}
_PROPOSALS = {
    "proposals of a chunk": "pssdet::detection::BestOfChunk",
    "proposals of a level": "pssdet::detection::ProposalsOfLevel",
    "proposals of an image": "pssdet::detection::ProposalsOfImage",
}
_NMS = {
    "NMS of a class": "pssdet::detection::BestOfClass",
    "NMS of an image": "pssdet::detection::DetectionsOfImage",
}
_RESIZE = {
    f"resize {interpolation}, {kind}": f"pssdet::preprocess::Resize<{cubic}, {normalise_first}>"
    for interpolation, cubic in (("linear", "false"), ("cubic", "true"))
    for kind, normalise_first in (("8-bit", "false"), ("float32", "true"))
}

# NVRTC has no C++ library. These are the parts of it that the kernels include.
_INTEGERS = """#pragma once
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned uint32_t;
typedef unsigned long long uint64_t; typedef unsigned long uintptr_t;
"""
_MATHS = """#pragma once
namespace std {
inline float floor(float x) { return ::floorf(x); }
inline double floor(double x) { return ::floor(x); }
inline float ceil(float x) { return ::ceilf(x); }
inline float rint(float x) { return ::rintf(x); }
inline float exp(float x) { return ::expf(x); }
inline double exp(double x) { return ::exp(x); }
}
"""
_HEADERS = {"cstdint": _INTEGERS, "stdint.h": _INTEGERS, "stddef.h": "#pragma once\n", "cmath": _MATHS}


@dataclass(frozen=True)
class Program:
    """Kernels that are compiled together."""

    headers: tuple[Path, ...]
    kernels: Mapping[str, str]  # name in our tables -> C++ class (``device/launch.h``)
    check: str = "true"  # a C++ condition that must be true

    @property
    def entries(self) -> dict[str, str]:
        """A kernel's name in our tables -> the C++ expression that names its entry point."""
        return {name: f"pssdet::entry<{kernel}>" for name, kernel in self.kernels.items()}

    @property
    def source(self) -> str:
        """The program's text; the shared memory that launches ask for is constants in it, read from the PTX."""
        sizes = [
            f'extern "C" __device__ const int {constant(i)} = {kernel}::kMaxDynamicShared;'
            for i, kernel in enumerate(self.kernels.values())
        ]
        check = (
            f'static_assert({self.check}, "the kernels differ from those that plugins/tools/kernels.py lists");'
        )
        return "\n".join([*(f'#include "{header}"' for header in self.headers), check, *sizes])


def constant(index: int) -> str:
    """The name of the constant that is the ``index``-th kernel's shared memory."""
    return f"shared_bytes_{index}"


def programs() -> tuple[Program, ...]:
    """All of them; ``EnvironmentMissing`` without the sources, as in an installed wheel."""
    tiles = tile_names()
    fused = {
        f"fused {tile}{suffix}": f"{_DCN}Fused<{_DCN}{tile}, {divided}>"
        for tile in tiles
        for suffix, divided in (("", "false"), (" divided", "true"))
    }
    dcn_headers = _headers("dcnv2/fused_kernel.cuh", "dcnv2/direct_kernel.cuh")
    return (
        Program(dcn_headers, fused | _DIRECT, f"{_DCN}kTiles == {len(tiles)}"),
        Program(_headers("detection/roi_align.cuh"), _ROI_ALIGN),
        Program(_headers("detection/proposals.cuh"), _PROPOSALS),
        Program(_headers("detection/multiclass_nms.cuh"), _NMS),
        Program(_headers("preprocess/resize.cuh"), _RESIZE),
    )


def tile_names() -> list[str]:
    """The tiles of DCNv2's fused kernel, as ``tile.cuh`` names them."""
    return re.findall(r"^using (\w+) = Tile<", _headers("dcnv2/tile.cuh")[0].read_text(), re.MULTILINE)


def _headers(*names: str) -> tuple[Path, ...]:
    paths = tuple(_PLUGINS / name for name in names)
    for path in paths:
        if not path.is_file():
            raise EnvironmentMissing(
                f"{path} is missing: the kernels' sources are in a checkout of the project only"
            )
    return paths


@dataclass(frozen=True)
class Kernel:
    """One kernel as the compiler made it; sizes in bytes."""

    name: str
    threads: int
    registers: int
    static_shared: int
    dynamic_shared: int  # asked for at the launch, at most; of a DCNv2 kernel with nine taps
    stack: int
    spilled: int
    tensor_core: int  # instructions in the intermediate code (PTX)
    unsynchronised: int  # of those that a warp executes together: after a branch without __syncwarp()
    machine: MachineCode | None  # None: no disassembler knew the architecture

    @property
    def shared(self) -> int:
        """All of a block's shared memory."""
        return self.static_shared + self.dynamic_shared


def compile_kernels(compiler: Nvrtc, arch: str, options: Sequence[str] = ()) -> tuple[Kernel, ...]:
    """Compile every kernel for ``arch``, such as ``sm_70``.

    Raises:
        CompileFailed: the compiler refuses the source or the architecture.
        EnvironmentMissing: the sources are not here, as in an installed wheel.
    """
    return tuple(kernel for program in programs() for kernel in _compile(compiler, program, arch, options))


def _compile(compiler: Nvrtc, program: Program, arch: str, options: Sequence[str]) -> tuple[Kernel, ...]:
    compiled = compiler.compile(
        program.source,
        arch,
        headers=_HEADERS,
        names=list(program.entries.values()),
        options=options,
    )
    machine = machine_code(compiled.cubin)
    return tuple(_kernel(i, name, program, compiled, machine) for i, name in enumerate(program.kernels))


def _kernel(
    index: int, name: str, program: Program, compiled: Compiled, machine: dict[str, MachineCode] | None
) -> Kernel:
    symbol = compiled.symbols[program.entries[name]]
    code = _found(rf"\.entry {re.escape(symbol)}\(.*?^}}", compiled.ptx)[0]
    said = _found(rf"Compiling entry function '{re.escape(symbol)}'.*?Used \d+ registers[^\n]*", compiled.log)[
        0
    ]
    stack, stored, loaded = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", said)
    return Kernel(
        name=name,
        threads=_number(r"\.maxntid (\d+), 1, 1", code),
        registers=_number(r"Used (\d+) registers", said),
        static_shared=_number(r"(\d+) bytes smem", said) if "bytes smem" in said else 0,
        dynamic_shared=_constant(constant(index), compiled.ptx),
        stack=int(stack),
        spilled=int(stored) + int(loaded),
        # Both policies, wmma.mma.sync and mma.sync, and only with sums in float32.
        tensor_core=len(re.findall(r"\bmma\.sync\.aligned\.\S*\.f32(?:\.f16\.f16)?\.f32\b", code)),
        unsynchronised=unsynchronised(code),
        machine=machine[symbol] if machine is not None else None,
    )


def unsynchronised(ptx: str) -> int:
    """How many matrix instructions may find the lanes of a warp apart.

    All lanes must execute them together (``.aligned`` in the PTX ISA), so between them and any branch, or place
    that branches lead to, there must be a barrier of the warp or of the block.
    """
    together, count = True, 0
    for line in ptx.splitlines():
        if _BARRIER.search(line):
            together = True
        elif _PARTING.match(line):
            together = False
        elif _MATRIX.search(line):
            count += not together
    return count


def _found(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if not found:
        raise RuntimeError(f"the compiler's output has changed: no {pattern}")
    return found


def _number(pattern: str, text: str) -> int:
    return int(_found(pattern, text)[1])


def _constant(name: str, ptx: str) -> int:
    """A constant's value; where it is zero, the compiler writes none."""
    return int(_found(rf"\b{name}(?: = \d+)?;", ptx)[0].strip(";").partition(" = ")[2] or 0)
