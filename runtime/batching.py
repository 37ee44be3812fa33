"""Which pictures run together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from pssdet.errors import BadInput

#: To which size pictures are padded: each to its ``own``, so that only equals run together, or all of a
#: batch to a ``common`` one.
Padding: TypeAlias = Literal["own", "common"]


def check_batching(max_batch: int, padding: Padding) -> None:
    """Refuse what is no way to batch.

    Raises:
        BadInput: a batch of no picture, or a padding of another name.
    """
    if max_batch < 1:
        raise BadInput(f"a batch of at most {max_batch} pictures is none; choose 1 or more")
    if padding not in get_args(Padding):
        raise BadInput(f"there is no padding {padding!r}; choose {' or '.join(get_args(Padding))}")


def batches(shapes: Sequence[tuple[int, ...]], largest: int, padding: Padding) -> list[list[int]]:
    """Positions of the pictures that run together, at most ``largest`` each, in the order of their first ones.

    Args:
        shapes: each picture's padded shape; with ``own`` padding those of a batch are equal.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape if padding == "own" else (), []).append(index)
    return sorted(group[at : at + largest] for group in groups.values() for at in range(0, len(group), largest))
