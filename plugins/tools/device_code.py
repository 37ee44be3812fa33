"""The kernels compiled for one GPU architecture, and what the compiler says of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pssdet.plugins.tools.kernel_programs import Program, constant, programs
from pssdet.plugins.tools.machine_code import MachineCode, machine_code
from pssdet.plugins.tools.nvrtc import Compiled, Nvrtc

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
class Kernel:
    """One kernel as the compiler made it; sizes in bytes."""

    name: str
    threads: int
    registers: int
    static_shared: int
    #: Asked for at the launch; of a DCNv2 kernel with nine taps.
    dynamic_shared: int
    stack: int
    spilled: int
    #: Tensor-core instructions in the intermediate code.
    tensor_core: int
    #: None where no disassembler for the architecture was found.
    machine: MachineCode | None

    @property
    def shared(self) -> int:
        """All of a block's shared memory."""
        return self.static_shared + self.dynamic_shared


def compile_kernels(compiler: Nvrtc, arch: str, options: Sequence[str] = ()) -> tuple[Kernel, ...]:
    """Compile every kernel for ``arch``, such as ``sm_70``.

    Args:
        options: More options of the compiler.

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
        includes=[program.header.parent],
        names=list(program.names.values()),
        options=options,
    )
    machine = machine_code(compiled.cubin)
    return tuple(_kernel(name, program, compiled, machine) for name in program.names)


def _kernel(name: str, program: Program, compiled: Compiled, machine: dict[str, MachineCode] | None) -> Kernel:
    symbol = compiled.symbols[program.names[name]]
    code = _found(rf"\.entry {re.escape(symbol)}\(.*?^}}", compiled.ptx)
    said = _found(rf"Compiling entry function '{re.escape(symbol)}'.*?Used \d+ registers[^\n]*", compiled.log)
    sizes = list(program.shared)
    stack, stored, loaded = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", said)
    return Kernel(
        name=name,
        threads=_number(r"\.maxntid (\d+), 1, 1", code),
        registers=_number(r"Used (\d+) registers", said),
        static_shared=_number(r"(\d+) bytes smem", said) if "bytes smem" in said else 0,
        dynamic_shared=_number(rf"{constant(sizes.index(name))} = (\d+);", compiled.ptx) if name in sizes else 0,
        stack=int(stack),
        spilled=int(stored) + int(loaded),
        # Both dialects, wmma.mma.sync and mma.sync, and only with sums in float32.
        tensor_core=len(re.findall(r"\bmma\.sync\.aligned\.\S*\.f32(?:\.f16\.f16)?\.f32\b", code)),
        machine=machine[symbol] if machine is not None else None,
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if not found:
        raise RuntimeError(f"the compiler's output has changed: no {pattern}")
    return found[0]


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"the compiler's output has changed: no {pattern}")
    return int(found[1])
