"""NVIDIA's run-time compiler (NVRTC) and disassembler from PyPI wheels: no GPU or CUDA toolkit is needed."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pssdet.errors import EnvironmentMissing

_INSTALL = "pip install '.[kernels]' in a checkout"
_OPTIONS = (
    "--std=c++17",
    "--device-as-default-execution-space",  # host functions are compiled for the device too, and dropped
    "--diag-suppress=1097",  # attributes that only a host compiler knows
    "--ptxas-options=-v",
)


_LABEL = re.compile(r"\s*(\.L\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+([^;]+);")
_BRANCH = re.compile(r"\bBRA\S*\s+(?:\S+,\s*)?`\((\.L\w+)\)")
_PRODUCT = re.compile(r"\bHMMA\.")
_WORK = re.compile(r"\b(?:HMMA|LDG|LDGSTS|STS|FFMA)\b")
_LOCAL = re.compile(r"\b(?:LDL|STL)\b")


@dataclass(frozen=True)
class Compiled:
    """One program, compiled for one architecture."""

    cubin: bytes
    ptx: str
    log: str
    symbols: dict[str, str]  # name expression -> the symbol it became


class CompileFailed(Exception):
    """The compiler's error messages."""


class Nvrtc:
    """The compiler; ``EnvironmentMissing`` if a wheel of the extra ``kernels`` is not installed."""

    def __init__(self) -> None:
        library = _wheel("cuda_nvrtc") / "lib" / "libnvrtc.so.12"
        if not library.is_file():
            raise EnvironmentMissing(f"{library} is missing: {_INSTALL}")
        # mma.h and cuda_fp16.h come with the runtime, the crt/ headers that they include with nvcc.
        self._includes = [_wheel(name) / "include" for name in ("cuda_runtime", "cuda_nvcc")]
        self._library = ctypes.CDLL(str(library))
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def compile(
        self,
        source: str,
        arch: str,
        *,
        headers: Mapping[str, str],
        names: Sequence[str],
        options: Sequence[str] = (),
    ) -> Compiled:
        """Compile ``source`` for ``arch`` (``sm_70``), with the kernels of the name expressions ``names``.

        ``headers``: name -> text, for ``#include`` without a file. ``CompileFailed`` if the source is wrong.
        """
        program = ctypes.c_void_p()
        self._call(
            "nvrtcCreateProgram",
            ctypes.byref(program),
            source.encode(),
            b"kernels.cu",
            len(headers),
            _strings(headers.values()),
            _strings(headers),
        )
        try:
            for name in names:
                self._call("nvrtcAddNameExpression", program, name.encode())
            folders = [f"-I{folder}" for folder in self._includes]
            every = [f"--gpu-architecture={arch}", *_OPTIONS, *folders, *options]
            failed = self._library.nvrtcCompileProgram(program, len(every), _strings(every))
            log = self._text("ProgramLog", program)
            if failed:
                raise CompileFailed(log)
            symbols = {name: self._symbol(program, name) for name in names}
            return Compiled(self._bytes("CUBIN", program), self._text("PTX", program), log, symbols)
        finally:
            self._call("nvrtcDestroyProgram", ctypes.byref(program))

    def _symbol(self, program: ctypes.c_void_p, name: str) -> str:
        lowered = ctypes.c_char_p()
        self._call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(lowered))
        return (lowered.value or b"").decode()

    def _bytes(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, content)
        return content.raw

    def _text(self, what: str, program: ctypes.c_void_p) -> str:
        return self._bytes(what, program).rstrip(b"\0").decode(errors="replace")

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise RuntimeError(f"{function}: {self._library.nvrtcGetErrorString(code).decode()}")


def _wheel(name: str) -> Path:
    spec = importlib.util.find_spec("nvidia") and importlib.util.find_spec(f"nvidia.{name}")
    if not spec or not spec.submodule_search_locations:
        raise EnvironmentMissing(f"nvidia.{name} is not installed: {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _strings(values: Iterable[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [value.encode() for value in values]
    return (ctypes.c_char_p * len(encoded))(*encoded)


@dataclass(frozen=True)
class MachineCode:
    """The instructions of one kernel that say how it was compiled."""

    tensor_core: int  # matrix products on tensor cores
    local: int  # reads and writes of local memory: registers did not suffice, or arrays were not unrolled
    instructions: int = 0
    loop: int = 0  # of the loop that multiplies, without what only a new tap needs; 0 without one


def machine_code(cubin: bytes) -> dict[str, MachineCode] | None:
    """Symbol -> code of its kernel; None if no disassembler knows the architecture (CUDA 13's lacks sm_70)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        for tool in _disassemblers():
            done = subprocess.run([str(tool), "-c", str(path)], capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return functions_of(done.stdout)
    return None


def _disassemblers() -> list[Path]:
    """The one on PATH, then that of the wheel nvidia-cuda-nvdisasm."""
    on_path = shutil.which("nvdisasm")
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    wheels = [tool for folder in folders for tool in sorted(folder.glob("*/bin/nvdisasm"))]
    return [Path(on_path), *wheels] if on_path else wheels


def functions_of(listing: str) -> dict[str, MachineCode]:
    """The listing's functions, each of which is a section ``.text.SYMBOL``."""
    parts = re.split(r"^\.text\.(\S+):$", listing, flags=re.MULTILINE)
    return {symbol: _code(text) for symbol, text in zip(parts[1::2], parts[2::2], strict=True)}


def _code(listing: str) -> MachineCode:
    """One function; what follows the last instruction in its section does not count."""
    labels: dict[str, int] = {}
    instructions: list[str] = []
    for line in listing.splitlines():
        if found := _LABEL.match(line):
            labels[found[1]] = len(instructions)
        elif found := _INSTRUCTION.search(line):
            instructions.append(found[1])
    products = [bool(_PRODUCT.search(text)) for text in instructions]
    loops = [
        (sum(products[labels[found[1]] : end + 1]), labels[found[1]] - end, end)
        for end, text in enumerate(instructions)
        if (found := _BRANCH.search(text)) and labels.get(found[1], end + 1) <= end
    ]
    most, length, end = max(loops, default=(0, 0, 0))  # of those with as many products, the shortest
    loop = instructions[end + length : end + 1] if most else []
    return MachineCode(
        tensor_core=sum(products),
        local=sum(bool(_LOCAL.search(text)) for text in instructions),
        instructions=len(instructions),
        loop=len(loop) - _skipped(loop, {name: place - end - length for name, place in labels.items()}),
    )


def _skipped(loop: list[str], labels: dict[str, int]) -> int:
    """Instructions of a loop that a branch passes over, if they do nothing to a k-tile."""
    count = 0
    for place, text in enumerate(loop):
        found = _BRANCH.search(text)
        block = loop[place + 1 : max(labels.get(found[1], 0), 0)] if found else []
        if not any(_WORK.search(other) for other in block):
            count += len(block)
    return count
