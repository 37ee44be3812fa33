"""The eight shapes of the rendered scenes, as signed distances.

A shape is a function of coordinates in which its circumscribed circle has radius 1: negative inside,
positive outside, about the distance to the outline near it. NumPy alone decides which pixels belong
to a shape, so annotations do not depend on the version of a drawing library.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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
    return np.asarray(radius * (normal[0] * np.cos(angle) + normal[1] * np.sin(angle)) - np.float32(normal[0] * notch))


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
