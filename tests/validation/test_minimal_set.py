"""Leaving out until nothing can be left out."""

from itertools import combinations

import pytest

from pssdet.validation.tune_precision import minimal_set

SIZES = {"a": 7, "b": 1, "c": 4, "d": 9, "e": 2, "f": 6, "g": 3, "h": 8}
GROUPS = [[f"{group}{number}" for number in range(size)] for group, size in SIZES.items()]
NAMES = [name for group in GROUPS for name in group]


class Counted:
    """Holds where every needed name is there; counts the questions."""

    def __init__(self, *needed):
        self.needed = set(needed)
        self.asked = []

    def __call__(self, names):
        self.asked.append(names)
        return self.needed <= names


@pytest.mark.parametrize("name", NAMES)
def test_one_needed_name_is_found(name):
    holds = Counted(name)
    assert minimal_set(GROUPS, holds) == (name,)
    assert len(holds.asked) <= 20
    assert len(set(holds.asked)) == len(holds.asked)


@pytest.mark.parametrize(
    "needed", [*combinations(("a0", "c3", "d4", "h7"), 3), ("d1", "d2", "d3"), tuple(NAMES)]
)
def test_needed_names_come_in_their_order(needed):
    assert minimal_set(GROUPS, Counted(*reversed(needed))) == needed


def test_nothing_needed_is_one_question():
    holds = Counted()
    assert minimal_set(GROUPS, holds) == ()
    assert holds.asked == [frozenset()]


def test_not_even_everything_suffices():
    assert minimal_set(GROUPS, Counted("a0", "unknown")) is None


def test_of_alternatives_one_is_found():
    found = minimal_set(GROUPS, lambda names: {"a1", "a2"} <= names or "h3" in names)
    assert found in {("a1", "a2"), ("h3",)}


def test_no_name_can_be_left_out_where_names_replace_each_other():
    def holds(names):
        return len(names & {"a0", "b0", "d0", "d1", "h0"}) >= 3

    found = minimal_set(GROUPS, holds)
    assert found is not None
    assert holds(frozenset(found))
    assert not any(holds(frozenset(found) - {name}) for name in found)
