"""Small plots as inline SVG; colours come from the page's style sheet by class name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

#: The largest and smallest count must differ by more than this for a log scale to help.
_LOG_RATIO = 25

_WIDTH = 420
_LEFT, _RIGHT, _TOP, _FLOOR = 48, 12, 12, 156
_INTERVAL_WIDTH, _INTERVAL_HEIGHT = 220, 28


class _Scale(NamedTuple):
    """The height of a count, 0..1, and the counts that get a tick."""

    height: Callable[[float], float]
    ticks: list[int]
    name: str


def number(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, no minus zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def interval_plot(
    delta: float, ci90: Sequence[float], ci95: Sequence[float], margin: float, *, reach: float, label: str
) -> Markup:
    """A difference and its intervals over the band of margin; empty if a number is not finite.

    Args:
        ci90: drawn thick, ``ci95`` thin.
        margin: half the width of the band around 0; positive.
        reach: the plot shows -reach..+reach margins; what lies beyond becomes an arrow at the edge.
        label: says the same in words.
    """
    values = [delta, *ci90, *ci95, margin]
    if not all(map(math.isfinite, values)) or margin <= 0:
        return Markup()
    centre, middle = _INTERVAL_WIDTH / 2, _INTERVAL_HEIGHT / 2
    unit = (centre - 12) / reach

    def place(value: float) -> float:
        return centre + unit * min(max(value / margin, -reach), reach)

    parts = [
        _rect("band", place(-margin), 2, place(margin) - place(-margin), _INTERVAL_HEIGHT - 4),
        _line("zero", centre, 2, centre, _INTERVAL_HEIGHT - 2),
    ]
    for kind, (low, high) in (("ci95", ci95), ("ci90", ci90)):
        if place(low) < place(high):  # else all of it lies beyond the edge
            parts.append(_line(kind, place(low), middle, place(high), middle))
    if abs(delta) <= reach * margin:
        parts.append(f'<circle class="dot" cx="{number(place(delta))}" cy="{number(middle)}" r="4.5"/>')
    parts += [_arrow(side, middle) for side in (-1, 1) if max(side * value for value in ci95) > reach * margin]
    return _svg("interval", _INTERVAL_WIDTH, _INTERVAL_HEIGHT, label, parts)


def histogram(edges: Sequence[float], counts: Sequence[int], *, x_label: str, y_label: str) -> Markup:
    """Columns of equal width between labelled edges; on a log scale where counts differ much.

    Empty without counts, or if the edges do not fit them.
    """
    if len(edges) != len(counts) + 1 or not all(map(math.isfinite, edges)) or max(counts, default=0) <= 0:
        return Markup()
    scale = _scale_of(counts)
    step = (_WIDTH - _LEFT - _RIGHT) / len(counts)
    room = _FLOOR - _TOP
    parts = [part for tick in scale.ticks for part in _y_tick(tick, _FLOOR - room * scale.height(tick))]
    names = _edge_names(edges)
    for index, (count, (low, high)) in enumerate(zip(counts, pairwise(names), strict=True)):
        height = room * scale.height(count)
        title = f"<title>{escape(f'{low} to {high}: {count:,}')}</title>"
        gap = min(1.0, step / 8)
        parts.append(_rect("bar", _LEFT + step * index + gap, _FLOOR - height, step - 2 * gap, height, title))
    parts.append(_line("axis", _LEFT, _FLOOR, _WIDTH - _RIGHT, _FLOOR))
    parts += _edge_axis(names)
    height = _FLOOR + 44 + 5 * max(map(len, names))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 6, x_label, "middle", "label"))
    parts.append(_y_title(y_label + scale.name, (_TOP + _FLOOR) / 2))
    return _svg("histogram", _WIDTH, height, f"{x_label}: {sum(counts):,} {y_label}{scale.name}", parts)


def _scale_of(counts: Sequence[int]) -> _Scale:
    most, least = max(counts), min(count for count in counts if count > 0)
    if most <= _LOG_RATIO * least:
        return _Scale(lambda count: count / most, list(range(0, most + 1, max(1, round(_nice(most / 4))))), "")
    powers = range(0, math.floor(math.log10(most)) + 1, 1 + math.floor(math.log10(most)) // 5)
    whole = math.log10(1 + most)
    return _Scale(
        lambda count: math.log10(1 + count) / whole, [0, *(10**power for power in powers)], ", log scale"
    )


def _nice(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _edge_axis(names: Sequence[str]) -> list[str]:
    step = (_WIDTH - _LEFT - _RIGHT) / (len(names) - 1)
    every = math.ceil(16 / step)
    parts = []
    for index in range((len(names) - 1) % every, len(names), every):
        x = _LEFT + step * index
        turn = f"translate({number(x + 3)} {_FLOOR + 13}) rotate(-45)"
        parts.append(_line("axis", x, _FLOOR, x, _FLOOR + 4))
        parts.append(f'<text class="tick" text-anchor="end" transform="{turn}">{escape(names[index])}</text>')
    return parts


def _edge_names(edges: Sequence[float]) -> list[str]:
    """The edges with as many decimals as distinguish them."""
    finest = min((high - low for low, high in pairwise(edges) if high > low), default=1.0)
    decimals = max(0, 1 - math.floor(math.log10(finest)))
    texts = [f"{edge:.{decimals}f}" for edge in edges]
    return [text.rstrip("0").rstrip(".") if "." in text else text for text in texts]


def _y_tick(count: int, y: float) -> list[str]:
    return [_line("grid", _LEFT, y, _WIDTH - _RIGHT, y), _text(_LEFT - 6, y + 4, f"{count:,}", "end")]


def _y_title(text: str, middle: float) -> str:
    turn = f"translate(10 {number(middle)}) rotate(-90)"
    return f'<text class="label" text-anchor="middle" transform="{turn}">{escape(text)}</text>'


def _arrow(side: int, middle: float) -> str:
    tip = _INTERVAL_WIDTH / 2 + side * (_INTERVAL_WIDTH / 2 - 2)
    points = [(tip, middle), (tip - side * 9, middle - 6), (tip - side * 9, middle + 6)]
    return f'<polygon class="arrow" points="{" ".join(f"{number(x)},{number(y)}" for x, y in points)}"/>'


def _rect(kind: str, x: float, y: float, width: float, height: float, inside: str = "") -> str:
    place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    return f'<rect class="{kind}" {place}>{inside}</rect>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(kind: str, width: int, height: int, label: str, parts: list[str]) -> Markup:
    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704 - every text in it is escaped
