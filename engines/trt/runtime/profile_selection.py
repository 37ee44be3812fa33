"""Which optimisation profile of an engine takes the shapes of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from pssdet.engines.trt.shapes import InputRanges, InputShapes
from pssdet.errors import BadInput


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
