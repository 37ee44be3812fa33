import numpy as np

from benchmarks.gpu.matching import matched


def outputs(*pictures):
    """Each picture: rows (label, score, x1, y1, x2, y2)."""
    slots = 5
    found = {
        "boxes": np.zeros((len(pictures), slots, 4), np.float32),
        "scores": np.zeros((len(pictures), slots), np.float32),
        "labels": np.full((len(pictures), slots), -1, np.int32),
        "count": np.array([len(rows) for rows in pictures], np.int32),
    }
    for index, rows in enumerate(pictures):
        for number, (label, score, *box) in enumerate(rows):
            found["labels"][index, number], found["scores"][index, number] = label, score
            found["boxes"][index, number] = box
    return found


CAT = (3, 0.9, 10, 10, 50, 50)
DOG = (4, 0.6, 60, 10, 90, 90)
FAINT = (3, 0.2, 0, 0, 5, 5)


def test_the_same_detections_are_all_found():
    reference = outputs([CAT, DOG, FAINT], [])
    figures = matched(reference, reference)
    assert (figures["detections"], figures["matched"], figures["share"], figures["extra"]) == (2, 2, 1.0, 0)
    assert (figures["score_difference"], figures["iou"], figures["worst"]) == (0.0, 1.0, -1)


def test_a_box_that_moved_too_far_is_lost_and_extra():
    moved = (3, 0.9, 14, 10, 54, 50)  # IoU 36 / 44
    figures = matched(outputs([DOG], [CAT]), outputs([DOG], [moved]))
    assert (figures["matched"], figures["share"], figures["extra"], figures["worst"]) == (1, 0.5, 1, 1)
    assert matched(outputs([CAT]), outputs([moved]), iou=0.8)["share"] == 1.0


def test_another_label_is_no_partner():
    assert matched(outputs([CAT]), outputs([(4, *CAT[1:])]))["matched"] == 0


def test_a_partner_may_have_fallen_below_the_score():
    figures = matched(outputs([(3, 0.31, *CAT[2:])]), outputs([(3, 0.28, *CAT[2:])]))
    assert (figures["matched"], figures["extra"]) == (1, 0)
    assert abs(figures["score_difference"] - 0.03) < 1e-6


def test_a_partner_serves_once():
    figures = matched(outputs([CAT, (3, 0.8, *CAT[2:])]), outputs([CAT]))
    assert (figures["detections"], figures["matched"]) == (2, 1)


def test_a_touch_does_not_count_as_overlap():
    figures = matched(outputs([(3, 0.9, 0, 0, 0, 0)]), outputs([(3, 0.9, 0, 0, 0, 0)]))
    assert figures["matched"] == 0  # no area, no overlap


def test_nothing_to_find():
    figures = matched(outputs([FAINT]), outputs([CAT]))
    assert (figures["detections"], figures["share"], figures["extra"]) == (0, 1.0, 1)
