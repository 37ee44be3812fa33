"""The picture of a scene: textured ground, shaded shapes, light, lens and sensor.

Colours and textures come from a stream of random numbers of their own and pass through OpenCV, whose versions
may round a pixel differently.
"""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from pssdet.models.labels import SHAPES
from pssdet.validation.scenes.layout import CLASSES, Floats, PlacedShape, SceneLayout

#: Normal deviates for the 256 values of a random byte: much faster than drawing them.
_DEVIATES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


def paint(layout: SceneLayout, seed: int, index: int) -> NDArray[np.uint8]:
    """The picture of a scene, uint8 RGB [H, W, 3]."""
    rng = np.random.RandomState([seed, index, 1])
    canvas = _ground(rng, layout.height, layout.width)
    _draw_strokes(rng, canvas)
    for shape in layout.shapes:
        _draw_shape(rng, canvas, shape)
    canvas *= _light(rng, layout.height, layout.width)[..., None]
    blur = rng.uniform(0.0, 0.9)
    if blur > 0.3:
        canvas = cv2.GaussianBlur(canvas, (5, 5), blur)
    canvas += rng.uniform(2.0, 9.0) * _deviates(rng, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _deviates(rng: np.random.RandomState, shape: tuple[int, ...]) -> Floats:
    count = int(np.prod(shape))
    return _DEVIATES[np.frombuffer(rng.bytes(count), np.uint8)].reshape(shape)


def _fractal(rng: np.random.RandomState, height: int, width: int) -> Floats:
    """Fractal noise float32 [height, width], about -1..1: octaves of smooth noise, each finer and weaker."""
    total = np.zeros((height, width), np.float32)
    roughness = rng.uniform(0.45, 0.75)
    for octave in range(6):
        cells = 2 << octave
        grid = _deviates(rng, (cells + 1, cells + 1))
        smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.float32(0.6 * roughness**octave) * smooth
    return total


def _ground(rng: np.random.RandomState, height: int, width: int) -> Floats:
    colours = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    # Half way to grey: few photographs have a ground as bright as their subjects.
    first, second = 0.5 * (colours + colours.mean(axis=1, keepdims=True))
    mix = np.clip(0.5 + 0.4 * _fractal(rng, height, width), 0, 1)[..., None]
    canvas = first + mix * (second - first)
    canvas += np.float32(rng.uniform(4, 22)) * _fractal(rng, height, width)[..., None]
    return np.asarray(canvas, np.float32)


def _draw_strokes(rng: np.random.RandomState, canvas: Floats) -> None:
    height, width = canvas.shape[:2]
    for _ in range(rng.randint(0, 6)):
        points = np.cumsum(rng.uniform(-0.3, 0.3, (5, 2)), axis=0) + rng.uniform(0, 1, 2)
        corners = (points * (width, height) * 16).astype(np.int32)
        colour = tuple(float(c) for c in rng.uniform(30, 225, 3))
        cv2.polylines(canvas, [corners], False, colour, int(rng.randint(1, 5)), cv2.LINE_8, shift=4)  # noqa: FBT003


def _draw_shape(rng: np.random.RandomState, canvas: Floats, shape: PlacedShape) -> None:
    """Blend one shape over what is there: the most distinct of three colours, textured and shaded."""
    region = canvas[shape.window()]
    coverage = shape.coverage[..., None]
    behind = (region * coverage).sum(axis=(0, 1)) / max(float(coverage.sum()), 1.0)
    colours = _colours(rng, CLASSES[SHAPES[shape.label]].hues)
    colour = colours[np.argmax(np.abs(colours - behind).sum(axis=1))]
    height, width = region.shape[:2]
    slope_y, slope_x = rng.uniform(-0.2, 0.2, 2)
    shade = np.linspace(-slope_y, slope_y, height)[:, None] + np.linspace(-slope_x, slope_x, width)[None]
    texture = np.float32(rng.uniform(0.0, 0.14)) * _fractal(rng, height, width)
    fill = colour * (np.float32(1.0) + texture + shade.astype(np.float32))[..., None]
    region += coverage * (fill - region)


def _colours(rng: np.random.RandomState, hues: tuple[float, float] | None) -> Floats:
    """Three colours to choose from, float32 RGB [3, 3], 0..255.

    Args:
        hues: smallest and largest, degrees, of colours far enough from grey; None: any colour.
    """
    if hues is None:
        return rng.uniform(15, 240, (3, 3)).astype(np.float32)
    value, saturation = rng.uniform(110, 240, (3, 1)), rng.uniform(0.4, 0.9, (3, 1))
    # What a hue lacks of red, green and blue is a trapezium: 0 near that colour, 1 opposite to it.
    sixths = np.mod(rng.uniform(*hues, (3, 1)) / 60 + np.array([5, 3, 1]), 6)
    lack = np.clip(np.minimum(sixths, 4 - sixths), 0, 1)
    return np.asarray(value * (1 - saturation * lack), np.float32)


def _light(rng: np.random.RandomState, height: int, width: int) -> Floats:
    """Brightness float32 [height, width]: falls off across the picture and towards its corners."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope_y, slope_x, corners = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), rng.uniform(0.0, 0.12)
    light = 1.0 + slope_y * y + slope_x * x - corners * (x * x + y * y)
    return np.asarray(light, np.float32)
