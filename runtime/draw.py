"""Drawing detections onto a picture."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pssdet.opencv import cv2
from pssdet.runtime.detections import Detections

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Turning the hue by the golden ratio keeps neighbouring labels far apart, however many there are.
_HUE_STEP = (math.sqrt(5) - 1) / 2
#: Saturation and brightness change too, so that the labels whose hues come close still differ.
_SHADES = ((0.85, 1.0), (0.55, 1.0), (0.9, 0.75))


class _Style(NamedTuple):
    """Sizes in pixels that suit a picture; ``font`` is OpenCV's scale."""

    line: int
    font: float
    stroke: int
    margin: int


def draw(picture: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
    """A copy of a picture with boxes, class names and scores; better scores lie on top.

    Args:
        picture: uint8 [H, W, 3] RGB, the one that ``detections`` belong to.
        detections: what to draw; choose with ``above`` first.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    canvas = np.array(picture, np.uint8, order="C")
    style = _style_for(*canvas.shape[:2])
    worst_first = range(len(detections) - 1, -1, -1)
    corners = np.rint(detections.boxes).astype(int).tolist()
    colours = [class_colour(int(label)) for label in detections.labels]
    for index in worst_first:
        x1, y1, x2, y2 = corners[index]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colours[index], style.line)
    # Labels come after all boxes, whose lines would cross them out.
    for index in worst_first:
        text = f"{detections.name(index)} {detections.scores[index]:.2f}"
        _draw_label(canvas, text, corners[index][:2], colours[index], style)
    return canvas


def class_colour(label: int) -> Colour:
    """The RGB colour of a class, always the same for the same label."""
    saturation, brightness = _SHADES[label % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(label * _HUE_STEP % 1.0, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def _style_for(height: int, width: int) -> _Style:
    scale = math.hypot(height, width) / 1000
    font = max(0.4, 0.55 * scale)
    return _Style(max(1, round(2 * scale)), font, max(1, round(1.4 * font)), max(1, round(6 * font)))


def _draw_label(canvas: NDArray[np.uint8], text: str, corner: Sequence[int], colour: Colour, style: _Style) -> None:
    """Text on a filled box: above the corner if there is room, else below it, and inside the picture."""
    height, width = canvas.shape[:2]
    (text_width, ascent), descent = cv2.getTextSize(text, _FONT, style.font, style.stroke)
    box_width, box_height = text_width + 2 * style.margin, ascent + descent + style.margin
    if box_width > width or box_height > height:
        return  # a picture too small for text shows the box alone
    left = min(max(corner[0] - style.line // 2, 0), width - box_width)
    above = corner[1] - box_height
    top = min(max(above if above >= 0 else corner[1], 0), height - box_height)
    cv2.rectangle(canvas, (left, top), (left + box_width - 1, top + box_height - 1), colour, cv2.FILLED)
    baseline = (left + style.margin, top + style.margin // 2 + ascent)
    cv2.putText(canvas, text, baseline, _FONT, style.font, _readable_on(colour), style.stroke, cv2.LINE_AA)


def _readable_on(colour: Colour) -> Colour:
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0) if luminance > 130 else (255, 255, 255)
