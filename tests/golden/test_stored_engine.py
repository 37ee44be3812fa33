"""An engine that an earlier version built is opened and finds what it found; ``make_engine.py`` made it."""

import json
import re

import numpy as np
import pytest
from golden_files import GOLDEN

ENGINE = GOLDEN / "engine"
EXPECTED = json.loads((GOLDEN / "detections.json").read_text())
#: Far above float32's noise, far below what a changed convention moves.
SCORE, PIXELS = 1e-4, 0.02


@pytest.fixture(scope="module")
def detector():
    from pssdet.runtime.detector import Detector

    with Detector.load(ENGINE) as opened:
        yield opened


@pytest.mark.parametrize("picture", EXPECTED)
def test_it_finds_what_it_found(detector, picture):
    (found,) = detector([GOLDEN / "pictures" / picture])
    entries, left = found.to_json(), list(EXPECTED[picture])
    assert len(entries) == len(left) > 20
    for entry in entries:
        assert list(entry) == ["label", "name", "score", "box"]
        near = [each for each in left if _is_near(entry, each)]
        assert near, f"{entry} was not found then; left: {left}"
        left.remove(near[0])
    assert [entry["score"] for entry in entries] == sorted((entry["score"] for entry in entries), reverse=True)


def _is_near(one, other):
    if (one["label"], one["name"]) != (other["label"], other["name"]):
        return False
    return (
        abs(one["score"] - other["score"]) < SCORE
        and np.abs(np.subtract(one["box"], other["box"])).max() < PIXELS
    )


def test_the_pictures_together(detector):
    together = detector([GOLDEN / "pictures" / name for name in EXPECTED])
    assert [len(found) for found in together] == [len(found) for found in EXPECTED.values()]


def test_its_card_is_read(detector):
    assert detector.card.model.model == "tiny_faster"
    assert all(record.passed for record in detector.card.verification)


def test_its_card_has_no_path():
    strings = re.findall(r'"((?:[^"\\]|\\.)*)"', (ENGINE / "engine.json").read_text())
    assert [text for text in strings if text.startswith(("/", "~", ".")) or "\\" in text] == []
