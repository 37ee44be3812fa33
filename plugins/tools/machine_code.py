"""What a GPU will really run: the instructions of compiled kernels, as NVIDIA's disassembler shows them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MachineCode:
    """The instructions of one kernel that say how it was compiled."""

    #: Matrix products on tensor cores.
    tensor_core: int
    #: Reads and writes of local memory: registers that did not suffice, or arrays that were not unrolled.
    local: int


def machine_code(cubin: bytes) -> dict[str, MachineCode] | None:
    """Symbol -> code of its kernel; None if no disassembler at hand knows the architecture.

    A CUDA 13 disassembler does not know sm_70, for instance, one of CUDA 12 does.
    """
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
