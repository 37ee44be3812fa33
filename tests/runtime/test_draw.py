import itertools

import numpy as np
import pytest
from fake_engine import picture

from pssdet.models.labels import COCO
from pssdet.runtime.detections import Detections
from pssdet.runtime.results import class_colour, draw


def detections(boxes, width, height, labels=None):
    boxes = np.float32(boxes).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    labels = np.int32(range(len(boxes)) if labels is None else labels)
    return Detections(boxes, scores, labels, COCO, width, height, 0)


def has(pixels, colour):
    return (np.abs(pixels.astype(int) - colour) < 8).all(-1).any()


def test_draws_on_a_copy():
    original = picture(300, 200)
    before = original.copy()
    drawn = draw(original, detections([[50, 60, 200, 150]], 300, 200))
    np.testing.assert_array_equal(original, before)
    assert (drawn.shape, drawn.dtype) == (original.shape, np.uint8)
    for edge in (drawn[60, 100:150], drawn[150, 100:150], drawn[90:120, 50], drawn[90:120, 200]):
        assert (edge == class_colour(0)).all()
    np.testing.assert_array_equal(drawn[70:140, 60:190], original[70:140, 60:190])


def test_nothing_found():
    original = picture(40, 30)
    np.testing.assert_array_equal(draw(original, detections([], 40, 30)), original)


def test_label_stays_inside():
    blank = np.zeros((200, 300, 3), np.uint8)
    corners = [(0, 0), (299, 0), (0, 199), (299, 199), (-50, -50), (400, 400), (250, 100)]
    for label, (x, y) in enumerate(corners):
        drawn = draw(blank, detections([[x, y, x + 1, y + 1]], 300, 200, [label]))
        colour = np.array(class_colour(label))
        rows, columns = np.nonzero((np.abs(drawn.astype(int) - colour) < 8).all(-1))
        assert np.ptp(rows) >= 8, "the label's box is there in its full height"
        assert np.ptp(columns) >= 30, "and in its full width"


def test_better_score_lies_on_top():
    box = [50, 60, 200, 150]
    drawn = draw(picture(300, 200), detections([box, box], 300, 200))
    assert has(drawn, class_colour(0))
    assert not has(drawn[100:150], class_colour(1))


def test_labels_lie_on_the_lines():
    without = draw(np.zeros((200, 300, 3), np.uint8), detections([[20, 100, 250, 190]], 300, 200, [5]))
    label = without[80:100, 20:60]
    crossed = draw(
        np.zeros((200, 300, 3), np.uint8),
        detections([[40, 20, 280, 150], [20, 100, 250, 190]], 300, 200, [0, 5]),
    )
    assert has(label, class_colour(5))
    assert not has(crossed[90:98, 36:44], class_colour(0))


def test_line_width_follows_the_size():
    def line_width(width, height):
        blank = np.zeros((height, width, 3), np.uint8)
        box = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
        column = draw(blank, detections([box], width, height))[height // 2 :, width // 2]
        return int(column.any(-1).sum())

    assert line_width(320, 240) < line_width(1920, 1080) < line_width(6000, 4000)


@pytest.mark.parametrize("size", [(2, 2), (5, 400), (400, 5), (30, 30)])
def test_small_pictures(size):
    drawn = draw(picture(*size), detections([[0, 0, *size]], *size))
    assert drawn.shape == (size[1], size[0], 3)
    assert has(drawn, class_colour(0))


def test_views_can_be_drawn_on():
    view = picture(80, 60)[:, ::-1, ::-1]
    assert draw(view, detections([[5, 5, 60, 40]], 80, 60)).flags.c_contiguous


def test_colours_are_stable_and_differ():
    colours = [class_colour(label) for label in range(len(COCO))]
    assert colours == [class_colour(label) for label in range(len(COCO))]
    assert len(set(colours)) == len(COCO)
    for first, second in itertools.combinations(colours[:12], 2):
        assert np.abs(np.subtract(first, second)).max() > 40
