"""The smallest set of things that something needs, found by leaving out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")

#: Whether it works with these alone.
Holds = Callable[[frozenset[str]], bool]


def minimal_set(groups: Sequence[Sequence[str]], holds: Holds) -> tuple[str, ...] | None:
    """Names of which none can be left out: whole groups are left out first, then names of what remains.

    Both times halves, quarters, ... are tried before single ones, so that k needed ones among n take about 2 k log n
    questions. Nothing is assumed about how the names work together; every answer is asked for once.

    Args:
        groups: all names, each once; neighbours that belong together.
        holds: asked of sets of names.

    Returns:
        The names in the order of ``groups``; None if not even all of them suffice.
    """
    ask = _remembered(holds)
    if ask(frozenset()):
        return ()
    if not ask(frozenset(name for group in groups for name in group)):
        return None
    needed = _reduced(groups, lambda left: ask(frozenset(name for group in left for name in group)))
    names = _reduced([name for group in needed for name in group], lambda left: ask(frozenset(left)))
    return tuple(names)


def _reduced(items: Sequence[_T], holds: Callable[[Sequence[_T]], bool]) -> list[_T]:
    """Items of which none can be left out."""
    left = list(items)
    size = max(1, len(left) // 2)
    while True:
        before = len(left)
        start = 0
        while start < len(left):
            without = left[:start] + left[start + size :]
            if without and holds(without):
                left = without
            else:
                start += size
        if size > 1:
            size //= 2
        elif len(left) == before:
            return left


def _remembered(holds: Holds) -> Holds:
    answers: dict[frozenset[str], bool] = {}

    def ask(names: frozenset[str]) -> bool:
        if names not in answers:
            answers[names] = holds(names)
        return answers[names]

    return ask
