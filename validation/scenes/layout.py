"""The geometry of a rendered scene: its eight kinds of shapes, where they lie and how much of each is visible.

A layout is drawn from one stream of random numbers and computed in NumPy alone, so annotations depend on no
drawing library and are equal on any machine, but for a pixel whose centre lies within a rounding of an outline.
A shape is a function of coordinates in which its circumscribed circle has radius 1: negative inside, positive
outside, about the distance to the outline near it.
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


def _bar_of(x: Floats, y: Floats, half_width: float) -> Floats:
    half_length = (1.0 - half_width**2) ** 0.5
    return np.maximum(np.abs(x) - np.float32(half_length), np.abs(y) - np.float32(half_width))


def _cross(x: Floats, y: Floats) -> Floats:
    return np.minimum(_bar_of(x, y, 0.3), _bar_of(y, x, 0.3))


def _ring(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.abs(np.hypot(x, y) - np.float32(0.77)) - np.float32(0.23))


def _crescent(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.maximum(_circle(x, y), np.float32(0.85) - np.hypot(x - np.float32(0.55), y)))


def _bar(x: Floats, y: Floats) -> Floats:
    return _bar_of(x, y, 0.32)


SIGNED_DISTANCE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "bar": _bar,
}


#: Seeds of the splits; any other number gives further scenes.
SPLITS = {"train": 2020, "heldout": 2021}

#: (height, width) of the pictures.
SIZES = ((240, 320), (320, 240), (256, 352), (352, 256), (288, 288), (300, 360))

#: Diameters of the shapes' circumscribed circles, pixels; the boxes' longer sides reach from 16 to 300.
DIAMETERS = (24.0, 300.0)

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
    # A crowd gathers around one place, its shapes are small.
    place = rng.uniform(0.3, 0.7, 2) * (height, width)
    spread = 0.4 if crowded else 0.0
    for _ in range(wanted):
        for _ in range(_ATTEMPTS):
            if _add(layout, _draw_shape(rng, layout, place, spread)):
                break
    return layout


def _draw_shape(
    rng: np.random.RandomState, layout: SceneLayout, place: NDArray[np.float64], spread: float
) -> PlacedShape:
    smallest, largest = DIAMETERS
    largest = largest / 4 if spread else largest
    diameter = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    size = np.array([layout.height, layout.width])
    draw = rng.uniform(0, 1, 2)
    centre = np.clip(place + spread * (2 * draw - 1) * size, 0, size) if spread else draw * size
    label, angle, squeeze = rng.randint(len(SHAPES)), rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1)
    return _cover(layout, label, centre, diameter / 2, angle, squeeze)


def _cover(
    layout: SceneLayout, label: int, centre: NDArray[np.float64], radius: float, angle: float, squeeze: float
) -> PlacedShape:
    """The pixels that a shape covers.

    Args:
        centre: (y, x), pixels.
        angle: of rotation, radians.
        squeeze: the shape's height over its width, before rotation.
    """
    reach = int(np.ceil(radius)) + 2
    top, left = int(centre[0]) - reach, int(centre[1]) - reach
    y = (np.arange(top, top + 2 * reach + 1) + (0.5 - centre[0])).astype(np.float32)[:, None] / np.float32(
        radius
    )
    x = (np.arange(left, left + 2 * reach + 1) + (0.5 - centre[1])).astype(np.float32)[None] / np.float32(
        radius
    )
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    distance = SIGNED_DISTANCE[SHAPES[label]](cos * x + sin * y, (cos * y - sin * x) / np.float32(squeeze))
    coverage = np.clip(np.float32(0.5) - distance * np.float32(radius), 0, 1)
    inside = coverage[max(-top, 0) : layout.height - top, max(-left, 0) : layout.width - left]
    return PlacedShape(label, (max(top, 0), max(left, 0)), inside, int((coverage >= 0.5).sum()))


def _add(layout: SceneLayout, shape: PlacedShape) -> bool:
    """Put a shape in front of the others, unless too little of any would be visible; returns whether it did."""
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
