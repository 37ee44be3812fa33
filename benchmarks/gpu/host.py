"""What the steps about whole engines need of a GPU host: TensorRT there (``tensorrt_host.py``), a fake in the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.bundle import Tensors

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16"]
#: (N, H, W) of the smallest, the typical and the largest batch.
Shapes = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]


@dataclass(frozen=True)
class BuildRequest:
    """An engine to build.

    model: as exported. fp32: the recipe's names of ONNX nodes, for ``fp16`` alone.
    profiles: kernels are chosen for each one's typical shape; the first is the one that layers are inspected with.
    """

    label: str
    model: onnx.ModelProto
    precision: Precision
    fp32: Sequence[str]
    profiles: tuple[Shapes, ...]


class Session(Protocol):
    """An engine as users run it: arrays of the host in, arrays of the host out."""

    @property
    def graph_fallback(self) -> str | None:
        """Why its work is not recorded as CUDA graphs although that was asked for; None if it is."""
        ...

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """One batch."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class Resident(Protocol):
    """An engine with a batch's inputs and outputs in the GPU's memory."""

    def times_us(self, iterations: int) -> list[float]:
        """Microseconds between two events around each of so many runs, one at a time, warmed up first."""
        ...

    def layers_us(self, iterations: int) -> dict[str, float]:
        """Microseconds of each of the engine's layers, the mean over runs without a graph, by TensorRT's profiler."""
        ...

    def memory(self) -> dict[str, int]:
        """Bytes: ``scratch`` that a context computes in, ``device`` taken by opening the engine with this batch."""
        ...


class Host(Protocol):
    """A GPU host."""

    name: str

    def identity(self) -> dict[str, str]:
        """What must be equal for results to belong together: TensorRT, plugins."""
        ...

    def describe(self) -> dict[str, str]:
        """What a reader must know of it to judge a time."""
        ...

    def check(self) -> None:
        """Wait for all work; raise an error of any of it, or that the GPU no longer answers."""
        ...

    def build(self, request: BuildRequest, plan: Path) -> dict[str, Any]:
        """Write the plan; figures of its build: ``seconds``, ``precisions`` (layers and share of FLOPs)."""
        ...

    def session(self, plan: Path, *, graphs: bool) -> AbstractContextManager[Session]:
        """The plan opened as users open it."""
        ...

    def resident(self, plan: Path, inputs: Tensors, *, graphs: bool) -> AbstractContextManager[Resident]:
        """The plan opened for one batch that stays in the GPU's memory."""
        ...
