"""Which pictures run together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeAlias, TypeVar, get_args

from pssdet.errors import BadInput

T = TypeVar("T")

#: ``own``: pictures of equal padded size run together; ``common``: a batch is padded to one size.
Padding: TypeAlias = Literal["own", "common"]

#: So many batches' pictures are looked at for batch-mates of one.
_LOOK_AHEAD = 4


def check_batching(max_batch: int, padding: Padding) -> None:
    """Raise ``BadInput`` if a batch would hold no picture, or the padding has another name."""
    if max_batch < 1:
        raise BadInput(f"a batch cannot have {max_batch} pictures; choose 1 or more")
    if padding not in get_args(Padding):
        raise BadInput(f"there is no padding {padding!r}; choose {' or '.join(get_args(Padding))}")


def in_batches(
    items: Iterable[T], shape: Callable[[T], tuple[int, ...]], largest: int, padding: Padding
) -> Iterator[list[tuple[int, T]]]:
    """Items that run together, at most ``largest``, each with its position among all.

    A batch comes when it is full, and at the latest when ``4 * largest`` items came since its first one, so
    that a rare shape holds up neither results nor memory. An error in the items is raised after their batches.

    Args:
        shape: gives an item's padded shape; with ``own`` padding those of a batch are equal.
    """
    groups: dict[tuple[int, ...], list[tuple[int, T]]] = {}
    try:
        for position, item in enumerate(items):
            key = shape(item) if padding == "own" else ()
            groups.setdefault(key, []).append((position, item))
            if len(groups[key]) == largest:
                yield groups.pop(key)
            # Dictionaries keep the order in which the groups began.
            oldest = next(iter(groups.values()), None)
            if oldest is not None and position + 1 - oldest[0][0] >= _LOOK_AHEAD * largest:
                yield groups.pop(next(iter(groups)))
    except Exception:
        yield from groups.values()
        raise
    yield from groups.values()
