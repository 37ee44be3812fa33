"""Shapes of an engine's inputs, and the ranges of them that an optimisation profile takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Shape: TypeAlias = tuple[int, ...]
#: The shape of every input, by its name.
InputShapes: TypeAlias = Mapping[str, Shape]


class ShapeRange(NamedTuple):
    """What a profile takes of one input: shapes from ``min`` to ``max``, tuned for ``opt``."""

    min: Shape
    opt: Shape
    max: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether a shape lies in it."""
        return len(shape) == len(self.min) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )

    def distance(self, shape: Shape) -> float:
        """How far a shape is from the one it is tuned for: the sum over its sides of |ln(side / opt side)|."""
        return sum(abs(math.log(max(size, 1) / max(opt, 1))) for size, opt in zip(shape, self.opt, strict=True))

    def __str__(self) -> str:
        sides = (str(low) if low == high else f"{low}..{high}" for low, high in zip(self.min, self.max, strict=True))
        return f"[{', '.join(sides)}]"


#: The range of every input of one optimisation profile, by its name.
InputRanges: TypeAlias = Mapping[str, ShapeRange]
