"""Which sizes, batches and layers a run goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.gpu.shapes import CHANNELS, ODD, SIZES, Layer, Problem, layers, shapes

#: The goals are about this size.
MAIN = SIZES[0]


@dataclass(frozen=True)
class Plan:
    """The first size is the main one: it comes first, and two streams and the reference are tried on it."""

    sizes: Sequence[tuple[int, int]] = SIZES
    checked_batches: Sequence[int] = (1, 2, 8)
    timed_batches: Sequence[int] = (1, 8)
    depths: Sequence[int] = (50, 101)
    channels: Sequence[int] = CHANNELS
    iterations: int = 200
    matrix_side: int = 8192
    odd: Mapping[str, Problem] = field(default_factory=lambda: ODD)

    def shapes(self, size: tuple[int, int], batch: int) -> list[Layer]:
        """The distinct shapes, which both depths share; counts are those of ResNet50."""
        return shapes(50, size, batch, self.channels)

    def layers(self, depth: int, size: tuple[int, int], batch: int) -> list[Layer]:
        """A network's layers in their order."""
        return layers(depth, size, batch, self.channels)


FULL = Plan()
QUICK = Plan(sizes=SIZES[:1], checked_batches=(1, 2), depths=(50,), iterations=20)


def size_text(size: tuple[int, int]) -> str:
    """Height x width."""
    return f"{size[0]}x{size[1]}"


def sums_name(depth: int, size: tuple[int, int], batch: int) -> str:
    """The stage that times a network's layers in sequence."""
    return f"sums R{depth} {size_text(size)} N={batch}"


def layers_name(size: tuple[int, int], batch: int) -> str:
    """The stage that times every layer and tile."""
    return f"layers {size_text(size)} N={batch}"
