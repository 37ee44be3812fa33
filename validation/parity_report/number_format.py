"""How the report's numbers are written, wherever they are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

NOT_AVAILABLE = "n/a"


def points(value: float | None) -> str:
    """An AP or AR in percent, as in COCO's tables; COCO's -1 means that there is none."""
    return f"{100 * value:.3f}" if _known(value) and value >= 0 else NOT_AVAILABLE


def difference(value: float | None) -> str:
    """A difference of APs in percent."""
    return signed(100 * value, 3) if _known(value) else NOT_AVAILABLE


def signed(value: float | None, digits: int = 5) -> str:
    """A number with its sign; one that rounds to zero has none."""
    if not _known(value):
        return NOT_AVAILABLE
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def interval(bounds: Sequence[float]) -> str:
    """Two differences of APs in brackets."""
    return f"[{', '.join(map(difference, bounds))}]" if all(map(math.isfinite, bounds)) else NOT_AVAILABLE


def margin(value: float) -> str:
    """A margin of AP, which holds in both directions."""
    return f"±{100 * value:.3f}" if math.isfinite(value) else NOT_AVAILABLE


def percent(value: float | None) -> str:
    """A share, rounded down: 100 % means all."""
    return f"{math.floor(value * 1e4 + 1e-6) / 100:.2f} %" if _known(value) and value >= 0 else NOT_AVAILABLE


def ap_percent(value: float) -> str:
    """An AP the way it is published."""
    return f"{100 * value:.1f} %" if math.isfinite(value) and value >= 0 else NOT_AVAILABLE


def small(value: float | None) -> str:
    """A number whose magnitude matters more than its digits."""
    return f"{value:.2g}" if _known(value) else NOT_AVAILABLE


def rate(value: float | None) -> str:
    """Images per second, or milliseconds."""
    return f"{value:,.{1 if value >= 10 else 2}f}" if _known(value) and value >= 0 else NOT_AVAILABLE


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
