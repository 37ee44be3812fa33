"""Compiled kernels against the limits of their architecture: what exceeds them, and a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from pssdet.console import OUT
from pssdet.errors import BadInput, GateFailed
from pssdet.files import write_atomically
from pssdet.plugins.tools.kernels import TAPS, Kernel, compile_kernels
from pssdet.plugins.tools.toolchain import Nvrtc

_KIB = 1024
_COLUMNS = (
    "arch",
    "kernel",
    "threads",
    "registers",
    "shared",
    "blocks",
    "tensor core",
    "instructions",
    "loop",
    "local",
    "spilled",
)
_LEGEND = (
    f"Shared: bytes of shared memory of a block, of a fused DCNv2 kernel with {TAPS} taps, "
    "of proposals and NMS with the most candidates. "
    "Blocks: how many fit on a multiprocessor at a time, by registers, shared memory and threads. "
    "Tensor core: matrix instructions in the machine code, or in the intermediate code (PTX) "
    "where no disassembler knew the architecture. "
    "Instructions: of the machine code; loop: of the one that multiplies, for a k-tile and warp, "
    "without what only a new tap needs. "
    "Local: instructions that read or write local memory. -: no disassembler. "
    "Spilled: bytes of stack, spill stores and spill loads, as ptxas reports them."
)


@dataclass(frozen=True)
class ArchitectureLimits:
    """CUDA C++ Programming Guide, technical specifications per compute capability."""

    shared_per_block: int  # bytes that a block may ask for
    shared: int  # bytes of a multiprocessor
    threads: int
    reserved: int  # bytes that the system takes of each block's


ARCHITECTURES = {
    "sm_70": ArchitectureLimits(96 * _KIB, 96 * _KIB, 2048, 0),
    "sm_75": ArchitectureLimits(64 * _KIB, 64 * _KIB, 1024, 0),
    "sm_80": ArchitectureLimits(163 * _KIB, 164 * _KIB, 2048, _KIB),
    "sm_86": ArchitectureLimits(99 * _KIB, 100 * _KIB, 1536, _KIB),
    "sm_89": ArchitectureLimits(99 * _KIB, 100 * _KIB, 1536, _KIB),
    "sm_90": ArchitectureLimits(227 * _KIB, 228 * _KIB, 2048, _KIB),
    "sm_120": ArchitectureLimits(99 * _KIB, 100 * _KIB, 1536, _KIB),
}


def violations(arch: str, kernel: Kernel) -> Iterator[str]:
    """What is wrong with a kernel, if anything."""
    where = f"{arch}, {kernel.name}"
    if kernel.spilled or kernel.stack:
        yield f"{where}: {kernel.spilled} bytes spilled, a stack frame of {kernel.stack} bytes"
    if kernel.machine and kernel.machine.local:
        yield f"{where}: {kernel.machine.local} instructions use local memory"
    if kernel.shared > ARCHITECTURES[arch].shared_per_block:
        limit = ARCHITECTURES[arch].shared_per_block
        yield f"{where}: {kernel.shared} bytes of shared memory, the architecture gives a block {limit}"
    if kernel.unsynchronised:
        yield f"{where}: {kernel.unsynchronised} matrix instructions after a branch without __syncwarp()"
    products = [kernel.tensor_core] + ([kernel.machine.tensor_core] if kernel.machine else [])
    if kernel.name.startswith("fused") and not all(products):
        yield f"{where}: no tensor-core instructions"


def blocks_per_multiprocessor(arch: str, kernel: Kernel) -> int:
    """How many blocks fit at a time."""
    limits = ARCHITECTURES[arch]
    # A multiprocessor has four parts with 16384 registers each, given to warps in units of 8 per thread.
    per_warp = -(-kernel.registers // 8) * 8 * 32
    warps = 16384 // per_warp * 4
    by_shared = limits.shared // max(kernel.shared + limits.reserved, 1)
    return min(warps * 32 // kernel.threads, by_shared, limits.threads // kernel.threads)


def as_table(kernels: Mapping[str, tuple[Kernel, ...]]) -> Table:
    """For a terminal."""
    table = Table(caption=_LEGEND, caption_justify="left")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in ("arch", "kernel") else "right")
    for row in _rows(kernels):
        table.add_row(*row)
    return table


def as_markdown(kernels: Mapping[str, tuple[Kernel, ...]], version: tuple[int, int]) -> str:
    """For a file of results."""
    lines = [
        "# Registers and shared memory of the kernels",
        "",
        "    python plugins/tools/compile_check.py --output benchmarks/results/kernel_registers.md",
        "",
        f"Compiled by NVRTC {version[0]}.{version[1]}; nothing was run. nvcc's figures may differ a little.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|-|-|" + "-:|" * (len(_COLUMNS) - 2),
        *("| " + " | ".join(row) + " |" for row in _rows(kernels)),
        "",
        *textwrap.wrap(_LEGEND, 120),
        "",
    ]
    return "\n".join(lines)


def _rows(kernels: Mapping[str, tuple[Kernel, ...]]) -> Iterator[list[str]]:
    for arch, compiled in kernels.items():
        for kernel in compiled:
            machine = kernel.machine
            yield [
                arch,
                kernel.name,
                str(kernel.threads),
                str(kernel.registers),
                str(kernel.shared),
                str(blocks_per_multiprocessor(arch, kernel)),
                str(machine.tensor_core) if machine else f"{kernel.tensor_core} (PTX)",
                str(machine.instructions) if machine else "-",
                (str(machine.loop) if machine.loop else "") if machine else "-",
                str(machine.local) if machine else "-",
                str(kernel.stack + kernel.spilled),
            ]


def check(*, arch: list[str] | None = None, output: Path | None = None) -> None:
    """Compile the kernels for GPU architectures, and check what came out.

    Every kernel must keep its values in registers, every fused one must use tensor cores and fit the
    architecture's shared memory. Needs the extra "kernels", no GPU and no CUDA toolkit.

    Args:
        arch: Architectures such as sm_70; may be repeated (default: all that the kernels are built for).
        output: Write the table to this file too, as Markdown.
    """
    unknown = sorted(set(arch or ()) - ARCHITECTURES.keys())
    if unknown:
        raise BadInput(
            f"{', '.join(unknown)}: not an architecture of the kernels; they are {', '.join(ARCHITECTURES)}"
        )
    compiler = Nvrtc()
    kernels = {name: compile_kernels(compiler, name) for name in arch or ARCHITECTURES}
    OUT.print(as_table(kernels))
    if output:
        write_atomically(output, as_markdown(kernels, compiler.version).encode())
    wrong = [
        text for name, compiled in kernels.items() for kernel in compiled for text in violations(name, kernel)
    ]
    for text in wrong:
        OUT.print(text)
    if wrong:
        raise GateFailed(f"{len(wrong)} of the checks above failed")
