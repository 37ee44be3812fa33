"""Which optimisation profile of an engine takes the shapes of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pssdet.errors import BadInput

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = Mapping[str, Shape]


class Range(NamedTuple):
    """What a profile takes of one input: shapes from ``low`` to ``high``, tuned for ``best``."""

    low: Shape
    best: Shape
    high: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether a shape lies in it."""
        return len(shape) == len(self.low) and all(
            low <= size <= high for low, size, high in zip(self.low, shape, self.high, strict=True)
        )

    def distance(self, shape: Shape) -> float:
        """How far a shape is from the one it is tuned for: the sum over its sides of |ln(side / best side)|."""
        return sum(abs(math.log(max(size, 1) / max(best, 1))) for size, best in zip(shape, self.best, strict=True))

    def __str__(self) -> str:
        sides = (str(low) if low == high else f"{low}..{high}" for low, high in zip(self.low, self.high, strict=True))
        return f"[{', '.join(sides)}]"


Profile: TypeAlias = Mapping[str, Range]


def choose_profile(profiles: Sequence[Profile], shapes: Shapes) -> int:
    """Number of the profile that takes the shapes and is tuned for those nearest to them.

    Args:
        profiles: each with the range of every input.
        shapes: of every input.

    Raises:
        BadInput: none takes them.
    """
    fitting = [
        number
        for number, profile in enumerate(profiles)
        if all(profile[name].takes(shape) for name, shape in shapes.items())
    ]
    if not fitting:
        raise BadInput(_refusal(profiles, shapes))
    return min(
        fitting, key=lambda number: sum(profiles[number][name].distance(shape) for name, shape in shapes.items())
    )


def _refusal(profiles: Sequence[Profile], shapes: Shapes) -> str:
    """What was asked for and what there is, of the inputs that some profile refuses."""
    asked = {
        name: shape for name, shape in shapes.items() if any(not profile[name].takes(shape) for profile in profiles)
    }
    wanted = ", ".join(f"{name} {list(shape)}" for name, shape in asked.items())
    ranges = "; ".join(
        f"profile {number}: " + ", ".join(f"{name} {profile[name]}" for name in asked)
        for number, profile in enumerate(profiles)
    )
    return (
        f"this engine takes no {wanted}; its optimisation profiles are {ranges}."
        " Build one for these shapes: python engines/build.py --backend tensorrt with --min-shapes, --opt-shapes and"
        " --max-shapes"
    )
