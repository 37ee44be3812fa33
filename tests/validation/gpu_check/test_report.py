"""The page and the row: from results alone, without paths and host names. Every figure is test data."""

import json

import pytest

from pssdet.errors import BadInput
from pssdet.validation.gpu_check.plan import STEPS
from pssdet.validation.gpu_check.report import MARKER, counts, markdown, recorded, row
from pssdet.validation.gpu_check.runner import Outcome, Results, shareable


@pytest.fixture
def results():
    driver = {
        "identity": {"GPU": "Stub 1", "driver": "550.1", "CUDA of the driver": "12.4"},
        "clock now, MHz": "1380",
    }
    outcomes = {
        "driver": Outcome("PASS", seconds=0.2, figures=driver),
        "tensorrt": Outcome("PASS", seconds=1.5, figures={"identity": {"TensorRT": "10.4.0"}}),
        "deform-conv": Outcome(
            "PASS", figures={"launches": 12, "worst relative error": {"fp32 NCHW": 1.23456e-6}}
        ),
        "nms-engine": Outcome(
            "FAIL", "TensorRT could not build it | at all", 3.0, warnings=["first", "last"], output=["printed"]
        ),
        "nms-run": Outcome("NOT RUN", "it needs nms-engine, which did not pass"),
    }
    return Results("0.1.0", "2026-11-29T20:00:00+00:00", outcomes)


class TestShareable:
    @pytest.mark.parametrize(
        ("text", "public"),
        [
            ("/home/me/pss-det/build/lib.so cannot be loaded", ".../lib.so cannot be loaded"),
            ("~/plans/a.plan: ok", ".../a.plan: ok"),
            ("see '/opt/x/y'", "see '.../y'"),
            ('File "/usr/lib/python3/json/__init__.py", line 7', 'File ".../__init__.py", line 7'),
            ("in /tmp/secret/", "in .../"),
            ("trunk/Conv_1 + stage1/decode/Exp_4", "trunk/Conv_1 + stage1/decode/Exp_4"),
            ("3.5 MB/s, and/or 1/2", "3.5 MB/s, and/or 1/2"),
            ("runs on workhorse-7.", "runs on HOST."),
            ("workhorse-77 is another", "workhorse-77 is another"),
        ],
    )
    def test_texts(self, text, public):
        assert shareable(text, "workhorse-7") == public

    def test_whatever_holds_them(self):
        value = {"a": ["/x/y/z", 1, None, {"b": ("/x/y/z",)}], "c": 0.5, "d": True}
        assert shareable(value, "h") == {"a": [".../z", 1, None, {"b": [".../z"]}], "c": 0.5, "d": True}


def test_the_page(results):
    text = markdown(results, STEPS)
    assert text.startswith("# GPU check: Stub 1\n\n3 PASS, 1 FAIL, 1 NOT RUN; pss-det 0.1.0, 2026-11-29\n")
    assert "| TensorRT | 10.4.0 |" in text
    assert "| clock now, MHz | 1380 |" in text
    assert "| driver | the NVIDIA driver and its first GPU | PASS | 0.2 |  |" in text
    assert "launches: 12; worst relative error: fp32 NCHW 1.235e-06 |" in text
    assert "TensorRT could not build it \\| at all |" in text
    assert "## nms-engine: FAIL" in text
    assert "TensorRT's last messages:\n\n    first\n    last\n" in text
    assert "What it printed last:\n\n    printed\n" in text
    assert "## nms-run" not in text


def test_tables_are_whole(results):
    for block in markdown(results, STEPS).split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines()]
        assert len({line.count("|") for line in lines if line.startswith("|")}) <= 1, block


def test_nothing_is_known():
    nothing = Results("0.1.0", "2026-11-29", {})
    assert markdown(nothing, STEPS).startswith("# GPU check: not known")
    assert "| not known | driver not known, CUDA not known, TensorRT not known |" in row(nothing)


def test_the_row(results):
    assert row(results) == (
        "| Stub 1 | driver 550.1, CUDA 12.4, TensorRT 10.4.0 | 2026-11-29"
        " | 3 PASS, 1 FAIL, 1 NOT RUN (nms-engine failed) | driver, tensorrt, deform-conv |"
    )
    assert counts(results) == "3 PASS, 1 FAIL, 1 NOT RUN"


def test_a_row_is_added_once_above_the_marker():
    page = f"| GPU |\n|-|\n| old |\n{MARKER}\n\nrest\n"
    added = recorded(page, "| new |")
    assert added == f"| GPU |\n|-|\n| old |\n| new |\n{MARKER}\n\nrest\n"
    assert recorded(added, "| new |") == added
    with pytest.raises(BadInput, match="has no line <!-- runs -->"):
        recorded("a page\n", "| new |")


def test_the_page_of_json_is_that_of_its_file(results, tmp_path):
    path = tmp_path / "gpu-check.json"
    path.write_bytes(results.encode())
    assert json.loads(path.read_bytes())["schema"] == 1
    assert markdown(Results.read(path), STEPS) == markdown(results, STEPS)
