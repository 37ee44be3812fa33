"""Shapes of an engine's inputs, the ranges of them that a profile takes, and the profile for a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pssdet.errors import BadInput

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


def choose_profile(profiles: Sequence[InputRanges], shapes: InputShapes) -> int:
    """Number of the profile that takes the shapes and is tuned for those nearest to them.

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


def _refusal(profiles: Sequence[InputRanges], shapes: InputShapes) -> str:
    """The message that compares the shapes with the profiles, for the inputs that some profile refuses."""
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
