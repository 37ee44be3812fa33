"""Shapes of an engine's inputs, and the optimisation profiles that take them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pssdet.engines.input_shapes import STRIDE, BatchSize, input_shape, padded, typical_size
from pssdet.errors import BadInput

Shape: TypeAlias = tuple[int, ...]
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
        """How far a shape is from ``opt``: the sum over its sides of |ln(side / opt side)|."""
        return sum(abs(math.log(max(size, 1) / max(opt, 1))) for size, opt in zip(shape, self.opt, strict=True))

    def __str__(self) -> str:
        sides = (
            str(low) if low == high else f"{low}..{high}" for low, high in zip(self.min, self.max, strict=True)
        )
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
        fitting,
        key=lambda number: sum(profiles[number][name].distance(shape) for name, shape in shapes.items()),
    )


def _refusal(profiles: Sequence[InputRanges], shapes: InputShapes) -> str:
    asked = {
        name: shape
        for name, shape in shapes.items()
        if any(not profile[name].takes(shape) for profile in profiles)
    }
    wanted = ", ".join(f"{name} {list(shape)}" for name, shape in asked.items())
    ranges = "; ".join(
        f"profile {number}: " + ", ".join(f"{name} {profile[name]}" for name in asked)
        for number, profile in enumerate(profiles)
    )
    return (
        f"this engine takes no {wanted}; its optimisation profiles are {ranges}. Build one for these shapes:"
        " python engines/build.py --backend tensorrt with --min-shapes, --opt-shapes and --max-shapes"
    )


#: Most pictures of a batch in the default profile.
MAX_BATCH = 8

_SHAPE = re.compile(r"(?:image:)?(\d{1,5})x(?:3x)?(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True)
class Profile:
    """Smallest, typical and largest (N, H, W); kernels are chosen for the typical one."""

    min: BatchSize
    opt: BatchSize
    max: BatchSize

    def range_of(self, tensor: str) -> ShapeRange:
        """The shapes of an input: ``image`` is [N, 3, H, W], every other one [N, 2]."""
        return ShapeRange(*(input_shape(tensor, each) for each in (self.min, self.opt, self.max)))

    def __str__(self) -> str:
        return " to ".join(as_text(size) for size in (self.min, self.opt, self.max))


def default_profile(short_side: int, long_side: int) -> Profile:
    """A profile that every picture fits, resized to ``short_side`` or limited to ``long_side``.

    Panoramas shrink to a few pixels, so the smallest shape is one stride each way; the largest is the
    long side both ways, for pictures upright and lying. The typical one is a 4:3 picture, lying.
    """
    # A long limit below the short target shrinks both sides to the limit.
    most = padded(max(long_side, 1))
    return Profile((1, STRIDE, STRIDE), typical_size(short_side, long_side), (MAX_BATCH, most, most))


def read_profiles(
    smallest: Sequence[str], typical: Sequence[str], largest: Sequence[str]
) -> tuple[Profile, ...]:
    """Profiles from the texts ``NxHxW`` of --min-shapes, --opt-shapes and --max-shapes.

    Smallest or largest shapes that are left out are the typical ones, as in trtexec.

    Raises:
        BadInput: a text is no shape, the numbers of shapes differ, or shapes contradict each other.
    """
    if not typical:
        if smallest or largest:
            raise BadInput("--min-shapes and --max-shapes need --opt-shapes; give all three, as NxHxW")
        return ()
    for option, given in (("--min-shapes", smallest), ("--max-shapes", largest)):
        if given and len(given) != len(typical):
            raise BadInput(
                f"{len(given)} {option} but {len(typical)} --opt-shapes; give as many of each, one per profile"
            )
    rows = zip(smallest or typical, typical, largest or typical, strict=True)
    return tuple(_checked(Profile(_read(low), _read(middle), _read(high))) for low, middle, high in rows)


def as_text(size: BatchSize) -> str:
    """The size as the command line takes it, ``NxHxW``."""
    return "x".join(map(str, size))


def _read(text: str) -> BatchSize:
    found = _SHAPE.fullmatch(text.strip())
    if not found:
        raise BadInput(f"{text!r} is not a shape; write NxHxW, e.g. 1x640x640")
    n, height, width = (int(part) for part in found.groups())
    return n, height, width


def _checked(profile: Profile) -> Profile:
    for shape in (profile.min, profile.opt, profile.max):
        if shape[0] < 1:
            raise BadInput(f"{as_text(shape)} has no picture; N starts at 1")
        if any(side < STRIDE or side % STRIDE for side in shape[1:]):
            raise BadInput(
                f"{as_text(shape)}: height and width must be multiples of {STRIDE}, as pictures are padded"
            )
    steps = zip(profile.min, profile.opt, profile.max, strict=True)
    if not all(low <= middle <= high for low, middle, high in steps):
        raise BadInput(f"profile {profile}: every size must be min <= opt <= max")
    return profile
