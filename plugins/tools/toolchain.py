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


def machine_code(cubin: bytes) -> dict[str, MachineCode] | None:
    """Symbol -> code of its kernel; None if no disassembler knows the architecture (CUDA 13's lacks sm_70)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        for tool in _disassemblers():
            done = subprocess.run([str(tool), "-c", str(path)], capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return _functions(done.stdout)
    return None


def _disassemblers() -> list[Path]:
    """The one on PATH, then that of the wheel nvidia-cuda-nvdisasm."""
    on_path = shutil.which("nvdisasm")
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    wheels = [tool for folder in folders for tool in sorted(folder.glob("*/bin/nvdisasm"))]
    return [Path(on_path), *wheels] if on_path else wheels


def _functions(listing: str) -> dict[str, MachineCode]:
    """The listing's functions, each of which is a section ``.text.SYMBOL``."""
    parts = re.split(r"^\.text\.(\S+):$", listing, flags=re.MULTILINE)
    return {
        symbol: MachineCode(
            tensor_core=len(re.findall(r"\bHMMA\.", code)),
            local=len(re.findall(r"\b(?:LDL|STL)\b", code)),
        )
        for symbol, code in zip(parts[1::2], parts[2::2], strict=True)
    }
