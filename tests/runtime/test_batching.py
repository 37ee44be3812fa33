"""Which pictures run together, and how long one waits for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pssdet.runtime.batching import in_batches


def letters(text, largest, padding="own"):
    return ["".join(item for _, item in batch) for batch in in_batches(text, tuple, largest, padding)]


def test_a_batch_comes_when_it_is_full_and_the_rest_by_their_first_items():
    assert letters("abababc", 2) == ["aa", "bb", "a", "b", "c"]


def test_common_padding_takes_them_as_they_come():
    assert letters("abcab", 2, "common") == ["ab", "ca", "b"]


def test_a_rare_shape_does_not_wait_for_ever():
    assert letters("a" + "b" * 20, 2) == ["bb", "bb", "bb", "a", *["bb"] * 7]


@given(text=st.text("abcd", max_size=60), largest=st.integers(1, 5), padding=st.sampled_from(["own", "common"]))
def test_each_item_is_in_one_batch_and_waits_for_a_bounded_number_of_others(text, largest, padding):
    given_out, taken = [], []

    def items():
        for letter in text:
            taken.append(letter)
            yield letter

    for batch in in_batches(items(), tuple, largest, padding):
        positions = [position for position, _ in batch]
        assert 0 < len(batch) <= largest
        assert positions == sorted(positions)
        assert all(text[position] == letter for position, letter in batch)
        assert padding == "common" or len({letter for _, letter in batch}) == 1
        assert len(taken) - positions[0] <= 4 * largest
        given_out += positions
    assert sorted(given_out) == list(range(len(text)))


def test_an_error_comes_after_the_batches_before_it():
    def items():
        yield from "aab"
        raise OSError("the disk is gone")

    batches = in_batches(items(), tuple, 4, "own")
    assert [len(next(batches)) for _ in range(2)] == [2, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
