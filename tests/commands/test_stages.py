"""The table of stages: what differs stands in its own unit."""

from io import StringIO

from rich.console import Console

from pssdet.commands.stages import stage_table
from pssdet.models.card import StageRecord


def lines(*records):
    """The cells of each row."""
    console = Console(width=160, file=StringIO())
    console.print(stage_table("title", records))
    rows = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_limit_is_that_of_the_stage():
    maps = StageRecord("a", "p2", 2e-5, 1e-4, "relative", 1.0, passed=True)
    found = StageRecord("a", "detections", 0.01, 0.1, "px", 0.98, passed=True)
    assert lines(maps, found) == [
        ["p2", "2.0e-05", "0.0001 of max"],
        ["detections", "1.0e-02 (98.0%)", "0.1 px"],
    ]


def test_a_failed_case_has_the_unit_of_what_differs():
    scores = StageRecord("a", "detections", 0.2, 1e-3, "in score", 0.0, passed=False)
    boxes = StageRecord("b", "detections", 0.01, 0.1, "px", 1.0, passed=True)
    assert lines(scores, boxes) == [["detections", "2.0e-01 in score (0.0%)", "1.0e-02", "0.1 px"]]
    assert lines(scores) == [["detections", "2.0e-01 (0.0%)", "0.001 in score"]]
