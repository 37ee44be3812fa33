"""The file of results, also as earlier versions wrote it."""

import json

import pytest

from benchmarks.gpu.suite import SCHEMA, Results

IDENTITY = {"case": "row4", "bundle": "hash", "gpu": "NVIDIA Stub 1", "quick": False}
STEPS = {
    "build no_dcn": {"seconds": 1.0, "result": {"bytes": 7}},
    "latency fp16 N=1": {"seconds": 2.0, "result": {}},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "row4_stub_1.json"


def test_what_was_saved_is_read(path):
    Results(path, IDENTITY, [{"date": "today"}], STEPS).save()
    again = Results.open(path, IDENTITY)
    assert (again.runs, again.steps) == ([{"date": "today"}], STEPS)
    assert again.result("build no_dcn") == {"bytes": 7}
    assert list(again.with_prefix("latency ")) == [("fp16 N=1", {})]


def test_another_identity_starts_empty(path):
    Results(path, IDENTITY, [{"date": "today"}], STEPS).save()
    assert Results.open(path, {**IDENTITY, "bundle": "other"}).steps == {}


def test_a_file_of_schema_1_goes_on(path):
    identity = {"parcel" if name == "bundle" else name: value for name, value in IDENTITY.items()}
    stages = {name.replace("no_dcn", "twin"): entry for name, entry in STEPS.items()}
    path.write_text(
        json.dumps({"schema": 1, "identity": identity, "runs": [{"date": "then"}], "stages": stages})
    )
    again = Results.open(path, IDENTITY)
    assert (again.runs, again.steps) == ([{"date": "then"}], STEPS)
    again.save()
    assert json.loads(path.read_text())["schema"] == SCHEMA == 2


@pytest.mark.parametrize(
    "content", ["", "7", "{}", "null", '{"schema": 3, "identity": {}, "runs": [], "steps": {}}']
)
def test_anything_else_is_no_file_of_results(path, content):
    assert Results.read(path) is None
    path.write_text(content)
    assert Results.read(path) is None
    assert Results.open(path, IDENTITY) == Results(path, IDENTITY)
