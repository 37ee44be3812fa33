"""Intersection over union and pairs one to one, by hand."""

import numpy as np
import pytest

from pssdet.models.matching import box_ious, greedy_pairs

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]], np.float64)


def test_iou():
    assert box_ious(BOXES, BOXES[:2]).tolist() == [[1.0, 0.5], [0.5, 1.0], [0.0, 0.0]]


def test_in_a_crowd_the_share_of_the_first_box_counts():
    found = box_ious(BOXES, BOXES[:2], crowd=np.array([True, False]))
    assert found.tolist() == [[1.0, 0.5], [1.0, 1.0], [0.0, 0.0]]


def test_given_areas_count_instead_of_the_corners():
    found = box_ious(BOXES, BOXES[:1], areas=(np.full(3, 200.0), np.full(1, 100.0)))
    assert found.tolist() == [[0.5], [0.2], [0.0]]


def test_boxes_without_an_area_overlap_nothing():
    flat = np.array([[0, 0, 10, 0], [10, 10, 0, 0]], np.float64)
    assert not box_ious(flat, np.concatenate([flat, BOXES])).any()


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(first, second):
    assert box_ious(BOXES[:first], BOXES[:second]).shape == (first, second)
    assert greedy_pairs(np.zeros((first, second))).shape == (0, 2)
    assert greedy_pairs(np.zeros((first, second)), row_by_row=True).shape == (0, 2)


def test_the_cheapest_pair_is_made_first():
    cost = np.array([[2.0, 3.0], [1.0, 9.0]])
    assert greedy_pairs(cost).tolist() == [[1, 0], [0, 1]]


def test_row_by_row_the_first_row_chooses_first():
    cost = np.array([[2.0, 3.0], [1.0, 9.0]])
    assert greedy_pairs(cost, row_by_row=True).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("row_by_row", [False, True])
def test_of_equal_costs_the_first_row_and_column_are_taken(row_by_row):
    assert greedy_pairs(np.ones((2, 3)), row_by_row=row_by_row).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("row_by_row", [False, True])
def test_costs_that_are_not_finite_make_no_pair(row_by_row):
    cost = np.array([[np.inf, np.nan], [5.0, np.inf], [1.0, np.nan]])
    expected = [[1, 0]] if row_by_row else [[2, 0]]
    assert greedy_pairs(cost, row_by_row=row_by_row).tolist() == expected
