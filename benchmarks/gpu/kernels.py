"""The DCNv2 kernels as the benchmark calls them: its own default format, addresses in one place, its own error."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.environment import ROOT, SOURCES, hash_of
from benchmarks.gpu.shapes import Problem
from pssdet.errors import BadInput, EnvironmentMissing
from pssdet.plugins.bindings.deform_conv import AUTO_TILE, DeformConvFormat, DeformConvLibrary

#: Let the library choose the tile.
AUTO = AUTO_TILE


@dataclass(frozen=True)
class Format(DeformConvFormat):
    """What is measured is half NHWC unless it says otherwise."""

    half: bool = True
    channels_last: bool = True


@dataclass(frozen=True)
class Addresses:
    """Where a launch's tensors lie in the device's memory; 0 where there is none."""

    x: int
    offset: int
    mask: int
    weight: int
    bias: int
    y: int


class KernelFailed(RuntimeError):
    """A function of the library returned something else than success."""


class Kernels:
    """The functions that are measured, of the shared library of the CMake build.

    Raises:
        EnvironmentMissing: it cannot be loaded, or is without its CUDA part.
    """

    def __init__(self, path: Path) -> None:
        self._library = DeformConvLibrary(path)
        if not self._library.has_cuda:
            raise EnvironmentMissing(f"{path} is without its CUDA kernels; build it with CUDA: make gpu-dcnv2")
        self._path = path

    def identity(self) -> str:
        """Equal for libraries whose results belong together.

        The sources' hash if the library is newer than they are, else its own. Two builds of the same sources differ:
        nvcc puts numbers of its own into each.
        """
        sources = [path for folder in SOURCES for path in folder.rglob("*") if path.is_file()]
        built = self._path.absolute().is_relative_to(ROOT / "build")
        if built and all(path.stat().st_mtime <= self._path.stat().st_mtime for path in sources):
            return f"sources {hash_of(*SOURCES)}"
        return f"file {self._digest()}"

    def describe(self) -> dict[str, str]:
        """Version, file and its hash, for the record."""
        return {"kernel library": f"version {self._library.version}, {self._path.name}, sha256 {self._digest()}"}

    def _digest(self) -> str:
        return hashlib.sha256(self._path.read_bytes()).hexdigest()

    def output_size(self, problem: Problem) -> tuple[int, int]:
        """Height and width of the output."""
        with _failing("output_size"):
            return self._library.output_size(problem)

    def pack_weights(self, problem: Problem, oihw: NDArray[np.float32], *, half: bool) -> NDArray[Any]:
        """Weights in the kernels' order and type, flat."""
        with _failing("pack_weights"):
            return self._library.pack_weights(problem, oihw, half=half).reshape(-1)

    def tile_count(self, problem: Problem, form: Format) -> int:
        """How many tiles the fused kernel has for a problem; 0 if the general kernel computes it."""
        return self._library.tile_count(problem, form)

    def run(self, problem: Problem, form: Format, tensors: Addresses, tile: int, stream: int) -> None:
        """Launch on a stream.

        Raises:
            KernelFailed: the library refused it, or the launch failed.
        """
        with _failing("run"):
            self._library.run(problem, form, **vars(tensors), tile=tile, stream=stream)


@contextmanager
def _failing(function: str) -> Iterator[None]:
    """What the library refuses, as the benchmark's own error, which a case survives."""
    try:
        yield
    except BadInput as error:
        raise KernelFailed(f"pssdet_dcnv2_{function} refused the problem") from error
    except EnvironmentMissing as error:
        raise KernelFailed(f"pssdet_dcnv2_{function} reports a CUDA error") from error
