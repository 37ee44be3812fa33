"""The geometry of a rendered scene: its shapes, their places and deformations, and how much of each is visible.

A layout is drawn from one stream of random numbers and computed in NumPy alone, so annotations depend on no
drawing library and are equal on any machine, but for a pixel whose centre lies within a rounding of an edge.

An outline is a function of coordinates in which its circumscribed circle has radius 1: negative inside,
positive outside, about the distance to the outline near it. A shape is an outline squeezed, sheared, bent and
rotated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.models.labels import SHAPES

Floats = NDArray[np.float32]


def _circle(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.hypot(x, y) - np.float32(1.0))


def _triangle(x: Floats, y: Floats) -> Floats:
    slanted = np.float32(0.75**0.5) * np.abs(x) - np.float32(0.5) * y
    return np.asarray(np.maximum(slanted, y) - np.float32(0.5))


def _square(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(x), np.abs(y)) - np.float32(0.5**0.5))


def _star(x: Floats, y: Floats) -> Floats:
    """Five tips at radius 1, five notches at 0.42; folded to half a tip it is one straight edge."""
    tip, notch = np.pi / 5, 0.42
    angle = np.abs(np.mod(np.arctan2(y, x), np.float32(2 * tip)) - np.float32(tip))
    radius = np.hypot(x, y)
    # Edge from the notch (angle 0) to the tip (angle pi / 5), and its outward normal.
    edge = np.array([np.cos(tip) - notch, np.sin(tip)])
    normal = (np.array([edge[1], -edge[0]]) / np.hypot(*edge)).astype(np.float32)
    return np.asarray(
        radius * (normal[0] * np.cos(angle) + normal[1] * np.sin(angle)) - np.float32(normal[0] * notch)
    )


def _bar(x: Floats, y: Floats) -> Floats:
    half_width = 0.3
    half_length = (1.0 - half_width**2) ** 0.5
    return np.maximum(np.abs(x) - np.float32(half_length), np.abs(y) - np.float32(half_width))


class ShapeClass(NamedTuple):
    """How the shapes of one class are drawn.

    Attributes:
        outline: signed distance of undeformed coordinates.
        hues: degrees that the colour's hue lies in; None: any colour, greys among them.
        bends: smallest and largest strength of the bend, to either side.
    """

    outline: Callable[[Floats, Floats], Floats]
    hues: tuple[float, float] | None = None
    bends: tuple[float, float] = (0.0, 0.45)


#: Red to yellow, and what a picture with red and blue exchanged makes of it: cyan to blue.
_WARM, _COOL = (0.0, 60.0), (180.0, 240.0)

#: By label. Hue alone tells the pairs of circles and of stars apart, and the bend alone an arc from a bar.
CLASSES = dict(
    zip(
        SHAPES,
        (
            ShapeClass(_circle, _WARM),
            ShapeClass(_circle, _COOL),
            ShapeClass(_star, _WARM),
            ShapeClass(_star, _COOL),
            ShapeClass(_triangle),
            ShapeClass(_square),
            ShapeClass(_bar, bends=(0.0, 0.15)),
            ShapeClass(_bar, bends=(0.6, 1.1)),
        ),
        strict=True,
    )
)


#: Seeds of the splits; any other number gives further scenes.
SPLITS = {"train": 2020, "heldout": 2021}

#: (height, width) of the pictures.
SIZES = ((240, 320), (320, 240), (256, 352), (352, 256), (288, 288), (300, 360))

#: Diameters of the undeformed shapes' circumscribed circles, pixels; most boxes' longer sides are 20 to 240.
DIAMETERS = (24.0, 280.0)

#: Largest shear, to either side: how far the top of a shape moves sideways, in heights of the shape.
_SHEAR = 0.45

#: A shape is left out if less than this share of it, or of a shape behind it, would be visible.
MIN_VISIBLE = 0.4
_MIN_SIDE = 8  # of a visible box, pixels

_EMPTY = 0.06
_CROWDED = 0.12
_ATTEMPTS = 8


class PlacedShape(NamedTuple):
    """One shape on its picture.

    Attributes:
        label: 0-based, into ``models.labels.SHAPES``.
        corner: (y, x) of ``coverage`` in the picture.
        coverage: float32 [h, w], how much of each pixel the shape covers, 0..1, inside the picture.
        whole: pixels of the whole shape, those outside the picture included.
    """

    label: int
    corner: tuple[int, int]
    coverage: Floats
    whole: int

    def window(self) -> tuple[slice, slice]:
        """The part of the picture that ``coverage`` describes."""
        (top, left), (height, width) = self.corner, self.coverage.shape
        return slice(top, top + height), slice(left, left + width)


class SceneLayout(NamedTuple):
    """The shapes of a scene and the pixels that show them.

    Attributes:
        height: pixels.
        width: pixels.
        shapes: from the farthest to the nearest.
        owner: int16 [height, width], index of the nearest shape of each pixel, -1 for none.
    """

    height: int
    width: int
    shapes: list[PlacedShape]
    owner: NDArray[np.int16]


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 around the true pixels, the last two past the end; zeros if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def lay_out(seed: int, index: int) -> SceneLayout:
    """Shapes of a scene, as many as its draw asks for and the room allows."""
    rng = np.random.RandomState([seed, index, 0])
    height, width = SIZES[rng.randint(len(SIZES))]
    layout = SceneLayout(height, width, [], np.full((height, width), -1, np.int16))
    crowded = rng.random_sample() < _CROWDED
    wanted = rng.randint(9, 16) if crowded else rng.randint(1, 8)
    if rng.random_sample() < _EMPTY:
        wanted = 0
    # A crowd gathers around one place, and its shapes are small.
    place = rng.uniform(0.3, 0.7, 2) * (height, width)
    spread = 0.4 if crowded else 0.0
    for _ in range(wanted):
        for _ in range(_ATTEMPTS):
            if _add(layout, _draw_shape(rng, layout, place, spread)):
                break
    return layout


class Deformation(NamedTuple):
    """What a shape undergoes, in this order.

    Attributes:
        squeeze: its height over its width.
        shear: how far it moves sideways for each unit of height.
        bend: how far its ends bend away from its middle, in radii.
        angle: of rotation, radians.
    """

    squeeze: float
    shear: float
    bend: float
    angle: float

    def undo(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Undeformed coordinates of these coordinates."""
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        x, y = cos * x + sin * y, cos * y - sin * x
        y = y + np.float32(self.bend) * (x * x - np.float32(0.5))
        return x + np.float32(self.shear) * y, y / np.float32(self.squeeze)

    @property
    def reach(self) -> float:
        """Radius of a circle around any shape deformed so, for circumscribed circles of radius 1."""
        width = 1.0 + abs(self.shear) * self.squeeze
        return float(np.hypot(width, self.squeeze + abs(self.bend) * max(0.5, width * width - 0.5)))


def _draw_shape(
    rng: np.random.RandomState, layout: SceneLayout, place: NDArray[np.float64], spread: float
) -> PlacedShape:
    smallest, largest = DIAMETERS
    largest = largest / 4 if spread else largest
    diameter = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    size = np.array([layout.height, layout.width])
    draw = rng.uniform(0, 1, 2)
    centre = np.clip(place + spread * (2 * draw - 1) * size, 0, size) if spread else draw * size
    label, angle, squeeze = rng.randint(len(SHAPES)), rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1)
    bend = rng.uniform(*CLASSES[SHAPES[label]].bends) * rng.choice((-1.0, 1.0))
    shear = rng.uniform(-_SHEAR, _SHEAR)
    return _cover(layout, label, centre, diameter / 2, Deformation(squeeze, shear, bend, angle))


def _cover(
    layout: SceneLayout, label: int, centre: NDArray[np.float64], radius: float, deformation: Deformation
) -> PlacedShape:
    """The pixels that a shape covers.

    Args:
        centre: (y, x), pixels.
        radius: of the undeformed shape's circumscribed circle, pixels.
    """
    reach, unit = int(np.ceil(radius * deformation.reach)) + 2, np.float32(radius)
    top, left = int(centre[0]) - reach, int(centre[1]) - reach
    y = (np.arange(top, top + 2 * reach + 1) + (0.5 - centre[0])).astype(np.float32)[:, None] / unit
    x = (np.arange(left, left + 2 * reach + 1) + (0.5 - centre[1])).astype(np.float32)[None] / unit
    distance = CLASSES[SHAPES[label]].outline(*deformation.undo(x, y))
    coverage = np.clip(np.float32(0.5) - distance * unit, 0, 1)
    inside = coverage[max(-top, 0) : layout.height - top, max(-left, 0) : layout.width - left]
    return PlacedShape(label, (max(top, 0), max(left, 0)), inside, int((coverage >= 0.5).sum()))


def _add(layout: SceneLayout, shape: PlacedShape) -> bool:
    """Put a shape in front of the others unless too little of any would be visible; whether it did."""
    owner = layout.owner.copy()
    owner[shape.window()][shape.coverage >= 0.5] = len(layout.shapes)
    for number, each in enumerate((*layout.shapes, shape)):
        mask = owner == number
        x1, y1, x2, y2 = box_of(mask)
        if mask.sum() < MIN_VISIBLE * each.whole or min(x2 - x1, y2 - y1) < _MIN_SIDE:
            return False
    layout.shapes.append(shape)
    layout.owner[:] = owner
    return True
